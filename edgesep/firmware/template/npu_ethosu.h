/* The Ethos-U by Arm's core driver: start it once, hand it its interrupt. */
#ifndef EDGESEP_ETHOSU_H
#define EDGESEP_ETHOSU_H

#ifdef __cplusplus
extern "C" {
#endif

/* Start the NPU whose registers are at base_address, before edgesep_init. The driver waits for its
 * interrupt: enable it first. Returns 0, or EDGESEP_NOT_READY when the NPU does not answer. */
int edgesep_ethosu_start(void *base_address);

/* To be called by the handler of the NPU's interrupt. */
void edgesep_ethosu_interrupt(void);

#ifdef __cplusplus
}
#endif

#endif
