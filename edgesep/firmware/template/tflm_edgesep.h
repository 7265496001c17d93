/* Isolate speech, hop by hop: 16 kHz int16 in, 16 kHz int16 out, one channel.
 *
 *     static uint64_t memory[EDGESEP_MEMORY_BYTES / 8];
 *     edgesep_init(memory, sizeof memory);
 *     for (;;) {
 *         edgesep_process(in, out);      EDGESEP_HOP_SAMPLES each; out lags EDGESEP_DELAY_SAMPLES
 *     }
 *
 * The network runs under TensorFlow Lite for Microcontrollers, see edgesep_tflm.h, the rest in C.
 * One stream. edgesep_process is not to be called from two places at once.
 */
#ifndef EDGESEP_H
#define EDGESEP_H

#include <stddef.h>
#include <stdint.h>

#include "edgesep_status.h"
#include "model_data.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that edgesep_init needs: at most EDGESEP_MEMORY_BYTES. */
size_t edgesep_memory_size(void);

/* Start a stream in memory of the caller's, aligned to 8 bytes; again: start another. */
int edgesep_init(void *memory, size_t size);

/* Isolate one hop. in and out may be the same. Returns 0 or a status of edgesep_status.h. */
int edgesep_process(const int16_t *in, int16_t *out);

#ifdef __cplusplus
}
#endif

#endif
