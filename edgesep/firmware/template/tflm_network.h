/* The network of @MODEL@ under TensorFlow Lite for Microcontrollers: features in, mask out.
 *
 * The past columns that stateful layers see are kept here, in rings; everything else is in TFLM's
 * arena. One stream, to be used from one context. Nothing is taken from the heap.
 */
#ifndef EDGESEP_TFLM_H
#define EDGESEP_TFLM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Start a stream; again: start another. Returns 0 or a status of edgesep_status.h:
 * EDGESEP_BAD_NETWORK when TFLM refuses the model or the arena does not do. */
int edgesep_tflm_init(void);

/* Run one frame: EDGESEP_MODEL_BANDS x 2 features in, EDGESEP_MODEL_BANDS mask bytes out. */
int edgesep_tflm_step(const int8_t *features, int8_t *mask);

/* Bytes of the arena that are in use, to trim EDGESEP_ARENA_BYTES by; 0 before init. */
size_t edgesep_tflm_arena_used(void);

#ifdef __cplusplus
}
#endif

#endif
