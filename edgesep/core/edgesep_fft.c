/* Radix-4 Stockham transform with block floating point; see edgesep_fft.h. */
#include "edgesep_fft.h"

#include "edgesep_complex.h"

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

/* One stage, x -> y, and the change of the exponent. Returns y's extent if it is to be
 * measured. */
EDGESEP_INLINE uint32_t stage(const edgesep_block *x, edgesep_block *y, int size, uint32_t extent,
                              int measured, int32_t *exponent) {
    const int available = headroom(extent);
    const int room = available > 0 ? available : 0;
    *exponent += 2 - room;
    return fft_stage(x, y, size, room, measured);
}

uint32_t edgesep_extent(const edgesep_block *block) {
    return fft_extent(block);
}

/* All but the last stage, z -> scratch. Returns scratch's extent. */
EDGESEP_HOT
static uint32_t first_stages(edgesep_block *restrict z, edgesep_block *restrict scratch,
                             uint32_t extent) {
    extent = stage(z, scratch, 1, extent, 1, &z->exponent);
    extent = stage(scratch, z, 4, extent, 1, &z->exponent);
    return stage(z, scratch, 16, extent, 1, &z->exponent);
}

EDGESEP_HOT
uint32_t edgesep_fft256(edgesep_block *z, edgesep_block *scratch, uint32_t extent) {
    extent = first_stages(z, scratch, extent);
    return stage(scratch, z, 64, extent, 1, &z->exponent);
}

EDGESEP_HOT
void edgesep_ifft256(edgesep_block *z, edgesep_block *scratch, uint32_t extent) {
    extent = first_stages(z, scratch, extent);
    (void)stage(scratch, z, 64, extent, 0, &z->exponent);
    z->exponent -= 8;
}

/* The shift that leaves all parts of a block of this extent below 2^29. */
static int normal_room(uint32_t extent) {
    return extent == 0 ? 0 : headroom(extent) - 1;
}

/* Normalise bin 128, which is its own mirror image, and conjugate it. */
static complex32 middle_bin(const edgesep_block *z, int room) {
    const complex32 middle = {
        normal(z->re[EDGESEP_BINS / 2], room),
        -normal(z->im[EDGESEP_BINS / 2], room),
    };
    return middle;
}

EDGESEP_HOT
void edgesep_split(edgesep_block *z, uint32_t extent) {
    const int room = normal_room(extent);
    const int32_t re = normal(z->re[0], room);
    const int32_t im = normal(z->im[0], room);
    const complex32 middle = middle_bin(z, room);
    z->exponent -= room;
    fft_join(z, 1, room);
    z->re[0] = re + im; /* DC */
    z->im[0] = re - im; /* Nyquist */
    z->re[EDGESEP_BINS / 2] = middle.re;
    z->im[EDGESEP_BINS / 2] = middle.im;
}

EDGESEP_HOT
uint32_t edgesep_unsplit(edgesep_block *x, uint32_t extent) {
    const int room = normal_room(extent);
    const int32_t dc = normal(x->re[0], room);
    const int32_t nyquist = normal(x->im[0], room);
    const complex32 middle = middle_bin(x, room);
    x->exponent -= room;
    x->im[0] = fx_half(dc + nyquist);
    x->re[0] = fx_half(dc - nyquist);
    x->im[EDGESEP_BINS / 2] = middle.re;
    x->re[EDGESEP_BINS / 2] = middle.im;
    extent = fx_extent(x->re[0]) | fx_extent(x->im[0]) | fx_extent(middle.re) | fx_extent(middle.im);
    return extent | fft_join(x, -1, room);
}
