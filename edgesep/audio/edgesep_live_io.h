/* The callbacks of the live loop: they copy and count on PortAudio's threads, nothing else.
 *
 * Two rings for one writer and one reader each, without a lock. The caller owns all memory, sets
 * the fields marked "given", and zeroes the rest. `audio/live_io.py` is the twin, bit by bit.
 */
#ifndef EDGESEP_LIVE_IO_H
#define EDGESEP_LIVE_IO_H

#include <stdint.h>

/* Places count from 0 to 2 * capacity - 1, so that a full ring differs from an empty one. */
typedef struct edgesep_ring {
    int16_t *frames;            /* given: (capacity, channels) */
    uint32_t written, taken;    /* places; each side moves its own, after the samples */
    int32_t capacity, channels; /* given */
} edgesep_ring;

/* How many frames can be read; for the writer: at most so many are still unread. */
int32_t edgesep_ring_available(const edgesep_ring *ring);
/* Append frames, (frames, channels), and return how many found a place. */
int32_t edgesep_ring_write(edgesep_ring *ring, const int16_t *block, int32_t frames);
/* Take frames, and return how many there were. block: NULL throws them away. */
int32_t edgesep_ring_read(edgesep_ring *ring, int16_t *block, int32_t frames);

/* What the microphone brings. */
typedef struct edgesep_inlet {
    edgesep_ring ring;
    int32_t bell; /* given: file descriptor that gets a byte for each block, or -1 */
    int32_t blocks, lost_frames, overflows;
} edgesep_inlet;

/* What the loudspeaker gets; where the ring is empty, the last sample fades to silence. */
typedef struct edgesep_outlet {
    edgesep_ring ring;
    const float *falling, *rising; /* given: (repair), the gains of both fades */
    float *last;                   /* given: (channels) */
    int32_t repair;                /* given: frames of a fade */
    int32_t rate_hz;               /* given */
    int32_t step_frames;           /* given: how much arrives in the ring at a time */
    int32_t refill_frames;         /* given at any time: when it goes on after a hole */
    int32_t headroom_frames;       /* given at any time: the least that was left since */
    int32_t ending;                /* given at any time: an empty ring is no starvation */
    int32_t dry, risen, fallen;    /* dry is given at first: 1 */
    int32_t blocks, starvations, underflows, late_requests;
    int32_t patience_us;    /* given: a request that comes later has left a gap */
    uint32_t written_at_us; /* given at any time, of edgesep_now_us */
    uint32_t asked_at_us;
} edgesep_outlet;

/* A clock that only moves forward, modulo 2^32. */
uint32_t edgesep_now_us(void);

/* PaStreamCallback of the input and of the output; the last argument is the struct. */
int edgesep_inlet_call(const void *input, void *output, unsigned long frames, const void *times,
                       unsigned long flags, void *inlet);
int edgesep_outlet_call(const void *input, void *output, unsigned long frames, const void *times,
                        unsigned long flags, void *outlet);

#endif
