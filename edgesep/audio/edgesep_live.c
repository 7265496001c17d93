/* The ends of the live path; see edgesep_live.h. */
#include "edgesep_live.h"

#include <stddef.h>
#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"

#define UNITY (1 << 24) /* Q24: a gain of one */
#define LANES 8         /* sums side by side, so that the compiler may use vectors */
#define FULL_SCALE 32768.0f

#if defined(__GNUC__)
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#endif

/* Nearest whole number, ties to even, for magnitudes below 2^22. */
static int32_t nearest(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: its last bit is worth one */
    const float sum = x + magic;
    return (int32_t)(sum - magic);
}

EDGESEP_HOT
static void interpolate(const float *restrict low, const float *restrict high, float share,
                        float *restrict weights, int32_t taps) {
    for (int32_t k = 0; k < taps; k++) {
        weights[k] = low[k] + (high[k] - low[k]) * share;
    }
}

/* The dot product. Said in vectors where the compiler has them: GCC makes a slow one of the loop.
 */
EDGESEP_HOT
static float product(const float *restrict a, const float *restrict b, int32_t count) {
    int32_t k = 0;
    float sums[LANES] = {0};
#if defined(__GNUC__)
    lanes total = {0};
    for (; k + LANES <= count; k += LANES) {
        total += *(const lanes *)(a + k) * *(const lanes *)(b + k);
    }
    memcpy(sums, &total, sizeof sums);
#else
    for (; k + LANES <= count; k += LANES) {
        for (int32_t lane = 0; lane < LANES; lane++) {
            sums[lane] += a[k + lane] * b[k + lane];
        }
    }
#endif
    for (int32_t rest = 0; k < count; k++, rest++) {
        sums[rest] += a[k] * b[k];
    }
    for (int32_t half = LANES / 2; half > 0; half /= 2) {
        for (int32_t lane = 0; lane < half; lane++) {
            sums[lane] += sums[lane + half];
        }
    }
    return sums[0];
}

/* Write the next sample of each channel; 0 when the history does not reach far enough. */
static int next_sample(edgesep_resampler *r, double step, float *sample) {
    const int32_t whole = (int32_t)r->position;
    if (r->position > r->filled - r->taps) {
        return 0;
    }
    const double phase = (r->position - whole) * EDGESEP_RESAMPLER_PHASES;
    const int32_t row = (int32_t)phase;
    const float *weights = r->table + (size_t)row * (size_t)r->taps;
    const float share = (float)(phase - row);
    if (share > 0) {
        interpolate(weights, weights + r->taps, share, r->weights, r->taps);
        weights = r->weights;
    }
    for (int32_t c = 0; c < r->channels; c++) {
        const float *history = r->history + (size_t)c * (size_t)r->capacity;
        sample[c] = product(history + whole, weights, r->taps);
    }
    r->position += step;
    return 1;
}

/* Forget what no further sample needs. */
static void compact(edgesep_resampler *r) {
    int32_t used = (int32_t)r->position;
    used = used < r->filled ? used : r->filled;
    r->filled -= used;
    r->position -= used;
    for (int32_t c = 0; c < r->channels && used > 0; c++) {
        float *history = r->history + (size_t)c * (size_t)r->capacity;
        memmove(history, history + used, (size_t)r->filled * sizeof *history);
    }
}

static int bad_resampler(const edgesep_resampler *r) {
    return r->table == NULL || r->history == NULL || r->weights == NULL || r->step <= 0 ||
           r->taps < 2 || r->channels < 1 || r->channels > 2 || r->capacity <= r->taps ||
           r->filled < 0 || r->filled > r->capacity;
}

/* --- in ----------------------------------------------------------------------------------------
 */

static float picked(const edgesep_live_in *in, const int16_t *frame, int32_t channel) {
    const int32_t choice = in->choice;
    if (choice != EDGESEP_CHANNEL_MIX) {
        return frame[choice == EDGESEP_CHANNEL_LINK ? channel : choice] / FULL_SCALE;
    }
    float sum = 0;
    for (int32_t c = 0; c < in->device_channels; c++) {
        sum += frame[c] / FULL_SCALE;
    }
    return sum / (float)in->device_channels;
}

/* Append one sample of each channel to the hop. */
static void collect(edgesep_live_in *in, const float *sample) {
    for (int32_t c = 0; c < in->resampler.channels; c++) {
        const float level = sample[c] * FULL_SCALE;
        const float clipped = level < -32768.0f ? -32768.0f : level > 32767.0f ? 32767.0f : level;
        const int16_t value = (int16_t)nearest(clipped);
        in->hop[c * in->hop_samples + in->hop_filled] = value;
        in->power += (double)value * value;
    }
    in->hop_filled++;
    in->powered += in->resampler.channels;
}

static int32_t append(edgesep_live_in *in, const int16_t *block, int32_t frames) {
    edgesep_resampler *r = &in->resampler;
    const int32_t room = r->capacity - r->filled;
    const int32_t count = frames < room ? frames : room;
    for (int32_t c = 0; c < r->channels; c++) {
        float *end = r->history + (size_t)c * (size_t)r->capacity + r->filled;
        for (int32_t i = 0; i < count; i++) {
            end[i] = picked(in, block + (size_t)i * (size_t)in->device_channels, c);
        }
    }
    r->filled += count;
    return count;
}

static int bad_in(const edgesep_live_in *in) {
    const int32_t wanted = in->choice >= 0                      ? in->choice + 1
                           : in->choice == EDGESEP_CHANNEL_LINK ? in->resampler.channels
                                                                : 1;
    return bad_resampler(&in->resampler) || in->hop == NULL || in->hop_samples < 1 ||
           in->device_channels < wanted || in->choice < EDGESEP_CHANNEL_LINK;
}

int edgesep_live_pull(edgesep_live_in *in, const int16_t *block, int32_t frames, int32_t *used) {
    if (in == NULL || block == NULL || used == NULL || frames < 0 || bad_in(in)) {
        return EDGESEP_BAD_ARGUMENT;
    }
    edgesep_resampler *r = &in->resampler;
    float sample[2];
    if (in->hop_filled == in->hop_samples) {
        in->hop_filled = 0;
    }
    *used = 0;
    while (in->hop_filled < in->hop_samples) {
        if (in->same_rate) {
            if (*used == frames) {
                return 0;
            }
            for (int32_t c = 0; c < r->channels; c++) {
                sample[c] = picked(in, block + *used * in->device_channels, c);
            }
            (*used)++;
        } else if (!next_sample(r, r->step, sample)) {
            compact(r);
            const int32_t taken = append(in, block + *used * in->device_channels, frames - *used);
            if (taken == 0) {
                return 0;
            }
            *used += taken;
            continue;
        }
        collect(in, sample);
    }
    return 1;
}

/* --- out ---------------------------------------------------------------------------------------
 */

static void move_fade(edgesep_live_out *out) {
    if (out->fade_open && out->fade_level < out->fade_frames) {
        out->fade_level++;
    } else if (!out->fade_open && out->fade_level > 0) {
        out->fade_level--;
    }
}

/* Sample times level / frames, rounded down. */
static int32_t faded(const edgesep_live_out *out, int32_t sample) {
    if (out->fade_level == out->fade_frames) {
        return sample;
    }
    const int64_t scaled = (int64_t)sample * out->fade_level;
    const int64_t quotient = scaled / out->fade_frames;
    return (int32_t)(quotient - (scaled % out->fade_frames < 0));
}

/* Return the gain for the frame that comes out, from the peak of the one that goes in. */
static int32_t limiter_gain(edgesep_live_out *out, int32_t peak) {
    const int32_t reach = out->lookahead;
    int64_t needed = UNITY;
    if (peak > out->ceiling) {
        needed = ((int64_t)out->ceiling << 24) / peak;
    } else if (out->quiet > 2 * reach && out->recovering == UNITY) {
        return UNITY; /* all that the rings hold is one */
    }
    const int64_t released = (int64_t)out->recovering + out->release_q24;
    needed = needed < released ? needed : released;
    out->recovering = (int32_t)(needed < UNITY ? needed : UNITY);
    out->quiet = out->recovering < UNITY ? 0 : out->quiet + 1;
    out->needed[out->needed_at] = out->recovering;
    out->needed_at = out->needed_at == reach ? 0 : out->needed_at + 1;
    int32_t least = UNITY;
    for (int32_t k = 0; k <= reach; k++) {
        least = out->needed[k] < least ? out->needed[k] : least;
    }
    out->lowest_sum += least - out->lowest[out->at];
    out->lowest[out->at] = least;
    const int32_t gain = (int32_t)(out->lowest_sum / reach);
    out->limited_frames += gain < UNITY;
    return gain;
}

/* Limit one frame in place, as late as the look-ahead. */
static void limit(edgesep_live_out *out, int32_t *sample) {
    const int32_t channels = out->resampler.channels;
    int32_t peak = 0;
    for (int32_t c = 0; c < channels; c++) {
        const int32_t size = sample[c] < 0 ? -sample[c] : sample[c];
        peak = size > peak ? size : peak;
    }
    const int32_t gain = limiter_gain(out, peak);
    for (int32_t c = 0; c < channels; c++) {
        int32_t *late = &out->late[out->at * channels + c];
        const int32_t limited = (int32_t)(((int64_t)*late * gain) >> 24);
        *late = sample[c];
        sample[c] = fx_clamp(limited, -out->ceiling, out->ceiling);
    }
    out->at = out->at + 1 == out->lookahead ? 0 : out->at + 1;
}

/* Spread one channel over all; two go to the first two, others stay silent; two to one: the mean.
 */
static void spread(const edgesep_live_out *out, const int32_t *sample, int16_t *frame) {
    const int32_t channels = out->resampler.channels;
    if (channels > out->device_channels) {
        frame[0] = fx_sat16(nearest((float)(sample[0] + sample[1]) / 2));
        return;
    }
    for (int32_t d = 0; d < out->device_channels; d++) {
        frame[d] = (int16_t)(channels == 1 ? sample[0] : d < channels ? sample[d] : 0);
    }
}

static int bad_out(const edgesep_live_out *out) {
    return bad_resampler(&out->resampler) || out->late == NULL || out->needed == NULL ||
           out->lowest == NULL || out->lookahead < 1 || out->fade_frames < 1 ||
           out->device_channels < 1 || out->ceiling < 0 || out->ceiling > 32767;
}

int edgesep_live_push(edgesep_live_out *out, const int16_t *hop, int32_t samples, double stretch,
                      int16_t *frames, int32_t room) {
    if (out == NULL || hop == NULL || frames == NULL || samples < 0 || !(stretch > 0) ||
        bad_out(out)) {
        return EDGESEP_BAD_ARGUMENT;
    }
    edgesep_resampler *r = &out->resampler;
    compact(r);
    if (samples > r->capacity - r->filled) {
        return EDGESEP_BAD_ARGUMENT;
    }
    for (int32_t c = 0; c < r->channels; c++) {
        float *end = r->history + (size_t)c * (size_t)r->capacity + r->filled;
        for (int32_t i = 0; i < samples; i++) {
            const int16_t value = hop[c * samples + i];
            end[i] = value / FULL_SCALE;
            out->power += (double)value * value;
        }
    }
    r->filled += samples;
    out->powered += (int64_t)samples * r->channels;
    const double step = r->step / stretch;
    int32_t count = 0;
    float fine[2];
    int32_t sample[2];
    while (count < room && next_sample(r, step, fine)) {
        move_fade(out);
        for (int32_t c = 0; c < r->channels; c++) {
            sample[c] = faded(out, nearest(fine[c] * FULL_SCALE));
        }
        limit(out, sample);
        spread(out, sample, frames + (size_t)count * (size_t)out->device_channels);
        count++;
    }
    return count;
}
