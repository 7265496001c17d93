/* The loops of the transforms in Helium: four butterflies, or four pairs of bins, at a time.
 * Included by edgesep_fft.c alone. */
#ifndef EDGESEP_FFT_HELIUM_H
#define EDGESEP_FFT_HELIUM_H

#include "edgesep_complex.h"
#include "edgesep_helium.h"

typedef struct complex32x4 {
    int32x4_t re, im;
} complex32x4;

/* Loads and stores in the order they are written, with the addresses they are written with. Left to
 * itself, GCC 12 loads a whole butterfly, which eight registers do not hold, and computes an address
 * for each part. `n` is within 127 either way: from the middle of four quarters to all of them. */
EDGESEP_INLINE int32x4_t load(const int32_t *x, int n) {
    int32x4_t parts;
    __asm__ volatile("vldrw.32 %q0, [%1, %2]" : "=w"(parts) : "r"(x), "i"(4 * n) : "memory");
    return parts;
}

EDGESEP_INLINE int32x4_t load_apart(const int32_t *x, uint32x4_t places) {
    int32x4_t parts;
    __asm__ volatile("vldrw.u32 %q0, [%1, %q2, uxtw #2]"
                     : "=&w"(parts)
                     : "r"(x), "w"(places)
                     : "memory");
    return parts;
}

EDGESEP_INLINE void store(int32_t *x, int n, int32x4_t parts) {
    __asm__ volatile("vstrw.32 %q0, [%1, %2]" : : "w"(parts), "r"(x), "i"(4 * n) : "memory");
}

#define QUARTER_0 (-3 * QUARTER / 2)
#define QUARTER_1 (-QUARTER / 2)
#define QUARTER_2 (QUARTER / 2)
#define QUARTER_3 (3 * QUARTER / 2)

/* Where the next butterflies put their outputs: the middles of the parts' quarters. */
typedef struct outputs {
    int32_t *re, *im;
    int measured;     /* whether anybody wants to know the */
    uint32_t largest; /* absolute value so far */
} outputs;

EDGESEP_INLINE void put(outputs *out, int32_t *part, int quarter, int32x4_t parts) {
    store(part, quarter, parts);
    if (out->measured) {
        out->largest = vmaxavq_s32(out->largest, parts);
    }
}

/* x << room, divided by four */
EDGESEP_INLINE int32x4_t quarter(int32x4_t x, int room) {
    return vrshlq_n_s32(x, room - 2);
}

/* Rounded high half of (x << room) * t. A doubling multiplication makes one bit of the room, and
 * takes t from a general register; it is of no use without room. */
EDGESEP_INLINE int32x4_t multiply(int32x4_t x, int room, int32x4_t t) {
    return room > 0 ? vqrdmulhq_s32(x, t) : vrmulhq_s32(x, t);
}

EDGESEP_INLINE int32x4_t multiply_by(int32x4_t x, int room, int32_t t) {
    return room > 0 ? vqrdmulhq_n_s32(x, t) : vrmulhq_s32(x, vdupq_n_s32(t));
}

/* The rest of the room: so far shifts by one, the usual room, cost nothing. */
EDGESEP_INLINE complex32x4 shifted(complex32x4 z, int room) {
    if (room > 1) {
        z.re = vshlq_r_s32(z.re, room - 1);
        z.im = vshlq_r_s32(z.im, room - 1);
    }
    return z;
}

/* z << room, turned by cos c, sin s and divided by four */
EDGESEP_INLINE complex32x4 turn(complex32x4 z, int room, int32x4_t c, int32x4_t s) {
    z = shifted(z, room);
    const complex32x4 y = {
        vaddq_s32(multiply(z.re, room, c), multiply(z.im, room, s)),
        vsubq_s32(multiply(z.im, room, c), multiply(z.re, room, s)),
    };
    return y;
}

EDGESEP_INLINE complex32x4 turn_by(complex32x4 z, int room, int32_t c, int32_t s) {
    z = shifted(z, room);
    const complex32x4 y = {
        vaddq_s32(multiply_by(z.re, room, c), multiply_by(z.im, room, s)),
        vsubq_s32(multiply_by(z.im, room, c), multiply_by(z.re, room, s)),
    };
    return y;
}

/* The sum of turned inputs 1 and 3. Their difference waits in memory, where outputs will follow. */
EDGESEP_INLINE complex32x4 odd_sum(const outputs *out, complex32x4 y1, complex32x4 y3) {
    const complex32x4 sum = {vaddq_s32(y1.re, y3.re), vaddq_s32(y1.im, y3.im)};
    store(out->re, QUARTER_1, vsubq_s32(y1.re, y3.re));
    store(out->im, QUARTER_0, vsubq_s32(y1.im, y3.im));
    return sum;
}

/* What follows the turns. p: odd_sum. */
EDGESEP_INLINE void finish(outputs *out, complex32x4 y0, complex32x4 y2, complex32x4 p) {
    const int32x4_t ar = vaddq_s32(y0.re, y2.re);
    const int32x4_t br = vsubq_s32(y0.re, y2.re);
    put(out, out->re, QUARTER_0, vaddq_s32(ar, p.re));
    put(out, out->re, QUARTER_2, vsubq_s32(ar, p.re));
    const int32x4_t ai = vaddq_s32(y0.im, y2.im);
    const int32x4_t bi = vsubq_s32(y0.im, y2.im);
    const int32x4_t dr = load(out->re, QUARTER_1);
    const int32x4_t di = load(out->im, QUARTER_0);
    put(out, out->re, QUARTER_1, vaddq_s32(br, di));
    put(out, out->re, QUARTER_3, vsubq_s32(br, di));
    put(out, out->im, QUARTER_0, vaddq_s32(ai, p.im));
    put(out, out->im, QUARTER_1, vsubq_s32(bi, dr));
    put(out, out->im, QUARTER_2, vsubq_s32(ai, p.im));
    put(out, out->im, QUARTER_3, vaddq_s32(bi, dr));
    out->re += 4;
    out->im += 4;
}

/* Where the next butterflies find their inputs. */
typedef struct inputs {
    const int32_t *re, *im;
} inputs;

EDGESEP_INLINE inputs inputs_at(const int32_t *x) {
    inputs in = {x, x + EDGESEP_BINS};
    return in;
}

EDGESEP_INLINE complex32x4 input(const inputs *in, int n) {
    const complex32x4 z = {load(in->re, n), load(in->im, n)};
    return z;
}

/* Real (or imaginary) halves of butterflies without turns. */
typedef struct half {
    int32x4_t a, b, p, d;
} half;

EDGESEP_INLINE half plain_half(const int32_t *x, int step, int room) {
    const int32x4_t y0 = quarter(load(x, -3 * step / 2), room);
    const int32x4_t y1 = quarter(load(x, -step / 2), room);
    const int32x4_t y2 = quarter(load(x, step / 2), room);
    const int32x4_t y3 = quarter(load(x, 3 * step / 2), room);
    const half h = {vaddq_s32(y0, y2), vsubq_s32(y0, y2), vaddq_s32(y1, y3), vsubq_s32(y1, y3)};
    return h;
}

/* The first butterflies of a stage, which turn nothing. */
EDGESEP_INLINE void plain_row(const int32_t *x, int step, int room, outputs *out) {
    inputs in = inputs_at(x + 3 * step / 2);
#pragma GCC unroll 2
    for (int k = 0; k < step; k += 4) {
        const half re = plain_half(in.re, step, room);
        put(out, out->re, QUARTER_0, vaddq_s32(re.a, re.p));
        put(out, out->re, QUARTER_2, vsubq_s32(re.a, re.p));
        const half im = plain_half(in.im, step, room);
        put(out, out->im, QUARTER_0, vaddq_s32(im.a, im.p));
        put(out, out->im, QUARTER_2, vsubq_s32(im.a, im.p));
        put(out, out->re, QUARTER_1, vaddq_s32(re.b, im.d));
        put(out, out->re, QUARTER_3, vsubq_s32(re.b, im.d));
        put(out, out->im, QUARTER_1, vsubq_s32(im.b, re.d));
        put(out, out->im, QUARTER_3, vaddq_s32(im.b, re.d));
        in.re += 4;
        in.im += 4;
        out->re += 4;
        out->im += 4;
    }
}

/* The other butterflies of a stage: `step` share their turns. */
EDGESEP_INLINE void turning_rows(const int32_t *x, int step, int room, outputs *out) {
    inputs in = inputs_at(x + 4 * step);
    const int32_t *turns = edgesep_fft_turns_q30 + step;
    for (; turns < edgesep_fft_turns_q30 + QUARTER; turns += step) {
#pragma GCC unroll 2
        for (int k = 0; k < step; k += 4) {
            const complex32x4 y1 = turn_by(input(&in, step), room, turns[0], turns[QUARTER]);
            const complex32x4 y3 =
                turn_by(input(&in, 3 * step), room, turns[4 * QUARTER], turns[5 * QUARTER]);
            const complex32x4 p = odd_sum(out, y1, y3);
            const complex32x4 y2 =
                turn_by(input(&in, 2 * step), room, turns[2 * QUARTER], turns[3 * QUARTER]);
            const complex32x4 x0 = input(&in, 0);
            const complex32x4 y0 = {quarter(x0.re, room), quarter(x0.im, room)};
            finish(out, y0, y2, p);
            in.re += 4;
            in.im += 4;
        }
        in.re += 3 * step;
        in.im += 3 * step;
    }
}

/* Input n of four butterflies whose inputs stand side by side. */
EDGESEP_INLINE complex32x4 gather(const inputs *in, int n, uint32x4_t apart) {
    const complex32x4 z = {load_apart(in->re + n, apart), load_apart(in->im + n, apart)};
    return z;
}

/* The last stage: turns of their own for each butterfly. */
EDGESEP_INLINE void last_stage(const int32_t *x, int room, outputs *out) {
    const uint32x4_t apart = vidupq_n_u32(0, 4);
    inputs in = inputs_at(x);
    const int32_t *turns = edgesep_fft_turns_q30 - QUARTER_0;
    const int32_t *others = edgesep_fft_turns_q30 + 4 * QUARTER; /* for input 3 */
    for (int j = 0; j < QUARTER; j += 4) {
        const complex32x4 y1 = turn(gather(&in, 1, apart), room, load(turns, QUARTER_0),
                                    load(turns, QUARTER_1));
        const complex32x4 y3 = turn(gather(&in, 3, apart), room, load(others, 0),
                                    load(others, QUARTER));
        const complex32x4 p = odd_sum(out, y1, y3);
        const complex32x4 y2 = turn(gather(&in, 2, apart), room, load(turns, QUARTER_2),
                                    load(turns, QUARTER_3));
        const complex32x4 x0 = gather(&in, 0, apart);
        const complex32x4 y0 = {quarter(x0.re, room), quarter(x0.im, room)};
        finish(out, y0, y2, p);
        in.re += 16;
        in.im += 16;
        turns += 4;
        others += 4;
    }
}

EDGESEP_INLINE void turning(const int32_t *x, int step, int room, outputs *out) {
    if (step == 1) {
        last_stage(x, room, out);
    } else if (step < QUARTER) {
        turning_rows(x, step, room, out);
    }
}

/* Stage that joins 4 transforms of `size` points of x << room: x -> y. Returns y's extent if it is
 * to be measured. */
EDGESEP_INLINE uint32_t fft_stage(const edgesep_block *restrict x, edgesep_block *restrict y,
                                  int size, int room, int measured) {
    const int step = QUARTER / size;
    const int32_t *in = (const int32_t *)x;
    outputs out = {y->re - QUARTER_0, y->im - QUARTER_0, measured, 0};
    if (step > 1) {
        plain_row(in, step, room, &out);
    }
    if (room == 0) { /* three loops made from one: the compiler knows of a 0, a 1, and no more */
        turning(in, step, 0, &out);
    } else if (room == 1) {
        turning(in, step, 1, &out);
    } else {
        turning(in, step, room > 2 ? room : 2, &out);
    }
    return measured ? helium_extent((const int32_t *)y, 2 * EDGESEP_BINS, out.largest) : 0;
}

EDGESEP_INLINE int32x4_t normal_four(int32x4_t x, int room) {
    return __builtin_constant_p(room) && room == 0 ? x : vrshlq_n_s32(x, room);
}

/* Join the four bins from k with their mirrored ones: join_bins. Returns the largest absolute value
 * so far. */
EDGESEP_INLINE uint32_t join_four(edgesep_block *z, int k, int sign, int room, uint32_t largest) {
    const uint32x4_t backward = vddupq_n_u32(3, 1);
    int32_t *above_re = z->re + EDGESEP_BINS - 3 - k;
    int32_t *above_im = z->im + EDGESEP_BINS - 3 - k;
    const int32x4_t c = vldrwq_s32(edgesep_split_cos_q31 + k);
    const int32x4_t s = vldrwq_s32(edgesep_split_sin_q31 + k);
    const int32x4_t low_re = normal_four(vldrwq_s32(z->re + k), room);
    const int32x4_t low_im = normal_four(vldrwq_s32(z->im + k), room);
    const int32x4_t high_re =
        normal_four(vldrwq_gather_shifted_offset_s32(above_re, backward), room);
    const int32x4_t high_im =
        normal_four(vldrwq_gather_shifted_offset_s32(above_im, backward), room);
    const int32x4_t br = vsubq_s32(low_re, high_re);
    const int32x4_t bi = vaddq_s32(low_im, high_im);
    const int32x4_t hr = vrhaddq_s32(low_re, high_re);
    const int32x4_t hi = vrshrq_n_s32(vsubq_s32(low_im, high_im), 1);
    complex32x4 below, above;
    if (sign > 0) {
        const int32x4_t tr = vaddq_s32(vrmulhq_s32(br, c), vrmulhq_s32(bi, s));
        const int32x4_t ti = vsubq_s32(vrmulhq_s32(bi, c), vrmulhq_s32(br, s));
        below.re = vaddq_s32(hr, ti);
        below.im = vsubq_s32(hi, tr);
        above.re = vsubq_s32(hr, ti);
        above.im = vnegq_s32(vaddq_s32(hi, tr));
    } else {
        const int32x4_t tr = vsubq_s32(vrmulhq_s32(br, c), vrmulhq_s32(bi, s));
        const int32x4_t ti = vaddq_s32(vrmulhq_s32(bi, c), vrmulhq_s32(br, s));
        below.im = vsubq_s32(hr, ti);
        below.re = vaddq_s32(hi, tr);
        above.im = vaddq_s32(hr, ti);
        above.re = vsubq_s32(tr, hi);
    }
    vstrwq_s32(z->re + k, below.re);
    vstrwq_s32(z->im + k, below.im);
    vstrwq_scatter_shifted_offset_s32(above_re, backward, above.re);
    vstrwq_scatter_shifted_offset_s32(above_im, backward, above.im);
    if (sign < 0) { /* nobody asks after a split */
        largest = vmaxavq_s32(largest, below.re);
        largest = vmaxavq_s32(largest, below.im);
        largest = vmaxavq_s32(largest, above.re);
        largest = vmaxavq_s32(largest, above.im);
    }
    return largest;
}

EDGESEP_INLINE uint32_t join_all(edgesep_block *z, int sign, int room) {
    enum { LAST = EDGESEP_BINS / 2 - 4 };
    uint32_t largest = 0;
#pragma GCC unroll 1
    for (int k = 1; k < LAST; k += 4) {
        largest = join_four(z, k, sign, room, largest);
    }
    /* Three pairs are left. The one before them joins again, as zeros, and is put back. */
    const complex32 low = {z->re[LAST], z->im[LAST]};
    const complex32 high = {z->re[EDGESEP_BINS - LAST], z->im[EDGESEP_BINS - LAST]};
    z->re[LAST] = z->im[LAST] = z->re[EDGESEP_BINS - LAST] = z->im[EDGESEP_BINS - LAST] = 0;
    largest = join_four(z, LAST, sign, room, largest);
    z->re[LAST] = low.re;
    z->im[LAST] = low.im;
    z->re[EDGESEP_BINS - LAST] = high.re;
    z->im[EDGESEP_BINS - LAST] = high.im;
    return largest;
}

/* Join bins k and 256 - k of a block that is to be normalised by `room`, k = 1 .. 127. Returns
 * their extent, or after a split, which is the end, anything. */
EDGESEP_INLINE uint32_t fft_join(edgesep_block *z, int sign, int room) {
    if (sign > 0) {
        return room == 0 ? join_all(z, sign, 0) : join_all(z, sign, room);
    }
    return helium_extent((const int32_t *)z, 2 * EDGESEP_BINS, join_all(z, sign, room));
}

EDGESEP_INLINE uint32_t fft_extent(const edgesep_block *z) {
    return helium_extent((const int32_t *)z, 2 * EDGESEP_BINS, 0);
}

#endif
