/* The frame path around the network: one hop in, features out; a mask in, one hop out.
 *
 *     size = edgesep_frontend_size(&contract);             ask, 0 means a bad contract
 *     edgesep_frontend_init(memory, size, &contract);      hand in memory, aligned to 8 bytes
 *     for (;;) {
 *         edgesep_analyse(frontend, hop, features);        then the network
 *         edgesep_synthesise(frontend, mask, gains, hop);
 *     }
 *
 * All channels share the features and the mask and keep their own spectra. The memory belongs to
 * the caller, holds everything and may be freed or copied elsewhere only between uses, with a
 * new init. No function allocates, prints or keeps static state.
 */
#ifndef EDGESEP_FRONTEND_H
#define EDGESEP_FRONTEND_H

#include <stddef.h>
#include <stdint.h>

#include "edgesep_status.h"

#define EDGESEP_MAX_CHANNELS 64

typedef struct edgesep_contract {
    int32_t hop_samples;        /* H: 32, 64, 128 or 256 */
    int32_t fade_samples;       /* F: 32, 64 or 128, at most H; the output lags by F samples */
    int32_t channels;           /* 1 .. 64 */
    int32_t bands;              /* 1 .. 256 */
    int32_t floor_rise_shift;   /* 0 .. 16 */
    int32_t floor_fall_shift;   /* 0 .. 16 */
    const uint16_t *band_edges; /* bands + 1 rising bin numbers, 0 .. 256; copied by init */
} edgesep_contract;

typedef struct edgesep_frontend edgesep_frontend;

/* Bytes that edgesep_frontend_init needs; 0 for a contract that is not allowed. */
size_t edgesep_frontend_size(const edgesep_contract *contract);

/* Set up a frontend at the start of memory. On success `memory` is the frontend. */
int edgesep_frontend_init(void *memory, size_t size, const edgesep_contract *contract);

/* Forget the stream: the next hop follows silence. */
int edgesep_frontend_reset(edgesep_frontend *frontend);

/* Take a hop, channels x H samples; write its features, bands x 2. */
int edgesep_analyse(edgesep_frontend *frontend, const int16_t *hop, int8_t *features);

/* Write the analysed hop under a mask, channels x H samples, F samples late.
 * mask: bands. gains_q15: 256 gains, 0 .. 32768, one for each mask byte + 128. */
int edgesep_synthesise(edgesep_frontend *frontend, const int8_t *mask, const uint16_t *gains_q15,
                       int16_t *hop);

#endif
