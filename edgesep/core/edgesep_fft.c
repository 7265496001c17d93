/* Radix-4 Stockham transform with block floating point; see edgesep_fft.h. */
#include "edgesep_fft.h"

#include "edgesep_clones.h"
#include "edgesep_fixed.h"
#include "edgesep_target.h"

#if defined(EDGESEP_HELIUM)
#include "edgesep_fft_helium.h"
#elif defined(EDGESEP_DSP)
#include "edgesep_fft_dsp.h"
#else
#include "edgesep_fft_plain.h"
#endif

/* How far a block of this extent shifts left with all parts below 2^30: -1 .. 30; 0 if all zero. */
static int headroom(uint32_t extent) {
    return extent == 0 ? 0 : 31 - fx_bit_length32(extent);
}

/* One stage, x -> y, and the change of the exponent. Returns y's extent. */
EDGESEP_INLINE uint32_t stage(const edgesep_block *x, edgesep_block *y, int size, uint32_t extent,
                              int32_t *exponent) {
    const int available = headroom(extent);
    const int room = available > 0 ? available : 0;
    *exponent += 2 - room;
    return fft_stage(x, y, size, room);
}

uint32_t edgesep_extent(const edgesep_block *block) {
    return fft_extent(block->re, EDGESEP_BINS) | fft_extent(block->im, EDGESEP_BINS);
}

EDGESEP_HOT
uint32_t edgesep_fft256(edgesep_block *restrict z, edgesep_block *restrict scratch,
                        uint32_t extent) {
    extent = stage(z, scratch, 1, extent, &z->exponent);
    extent = stage(scratch, z, 4, extent, &z->exponent);
    extent = stage(z, scratch, 16, extent, &z->exponent);
    return stage(scratch, z, 64, extent, &z->exponent);
}

/* The shift that leaves all parts of a block of this extent below 2^29. */
static int normal_room(uint32_t extent) {
    return extent == 0 ? 0 : headroom(extent) - 1;
}

EDGESEP_HOT
void edgesep_split(edgesep_block *z, uint32_t extent) {
    const int room = normal_room(extent);
    const int32_t re = normal(z->re[0], room);
    const int32_t im = normal(z->im[0], room);
    z->exponent -= room;
    z->re[0] = re + im; /* DC */
    z->im[0] = re - im; /* Nyquist */
    fft_join(z, 1, room);
}

EDGESEP_HOT
uint32_t edgesep_unsplit(edgesep_block *x, uint32_t extent) {
    const int room = normal_room(extent);
    const int32_t dc = normal(x->re[0], room);
    const int32_t nyquist = normal(x->im[0], room);
    x->exponent -= room;
    x->im[0] = fx_half(dc + nyquist);
    x->re[0] = fx_half(dc - nyquist);
    return fx_extent(x->re[0]) | fx_extent(x->im[0]) | fft_join(x, -1, room);
}
