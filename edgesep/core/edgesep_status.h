/* Status codes of the core: 0 is success, everything else is negative. */
#ifndef EDGESEP_STATUS_H
#define EDGESEP_STATUS_H

typedef enum edgesep_status {
    EDGESEP_OK = 0,
    EDGESEP_BAD_ARGUMENT = -1, /* a null pointer, or a value out of range */
    EDGESEP_BAD_CONTRACT = -2, /* hop, fade, bands, shifts or channels not allowed */
    EDGESEP_BAD_MEMORY = -3,   /* memory too small or not aligned to eight bytes */
    EDGESEP_NOT_READY = -4,    /* memory that no init function set up */
    EDGESEP_BAD_GAIN = -5,     /* a gain above 32768 (one) */
    EDGESEP_BAD_NETWORK = -6   /* a step of the network leaves its memory */
} edgesep_status;

/* A few English words for a status; never null. */
const char *edgesep_status_text(int status);

#endif
