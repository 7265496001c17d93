/* The ends of the live path: device frames to hops of 16 kHz, and hops back to device frames.
 *
 * Not part of the frame contract: rates are converted in float, so bits may differ between
 * machines. The caller owns all memory, sets the fields marked "given", and zeroes the rest.
 */
#ifndef EDGESEP_LIVE_H
#define EDGESEP_LIVE_H

#include <stdint.h>

#include "edgesep_status.h"

#define EDGESEP_RESAMPLER_PHASES 256
#define EDGESEP_CHANNEL_MIX (-1)  /* the mean of all channels */
#define EDGESEP_CHANNEL_LINK (-2) /* the first channels as they are */

/* Windowed-sinc rate conversion; `audio/fractional.py` is its twin and makes the table. */
typedef struct edgesep_resampler {
    const float *table;               /* given: (EDGESEP_RESAMPLER_PHASES + 2, taps) */
    float *history;                   /* given: (channels, capacity) */
    float *weights;                   /* given: (taps), scratch */
    double step;                      /* given: samples in per sample out */
    double position;                  /* of the next sample out, in samples of the history */
    int32_t taps, channels, capacity; /* given; capacity is above taps */
    int32_t filled;                   /* given at first: taps - 1, of silence */
} edgesep_resampler;

/* Device frames in, hops out. */
typedef struct edgesep_live_in {
    edgesep_resampler resampler;
    int16_t *hop;            /* given: (channels, hop_samples), where the hop grows */
    double power;            /* sum of squares of the samples out; the reader sets it back */
    int64_t powered;         /* samples in that sum */
    int32_t hop_samples;     /* given */
    int32_t device_channels; /* given */
    int32_t choice;          /* given: a channel's number, MIX or LINK */
    int32_t same_rate;       /* given: not 0 where the device runs at 16 kHz */
    int32_t hop_filled;
} edgesep_live_in;

/* Take frames until a hop is full: 1 then, else 0, or a negative status.
 * block: (frames, device_channels). used: how many frames were taken. */
int edgesep_live_pull(edgesep_live_in *in, const int16_t *block, int32_t frames, int32_t *used);

/* Hops in, faded and limited device frames out; `Fader` and `Limiter` are the twins, bit by bit. */
typedef struct edgesep_live_out {
    edgesep_resampler resampler;
    int32_t *late;   /* given: (lookahead, channels), a ring */
    int32_t *needed; /* given: (lookahead + 1), UNITY at first, a ring */
    int32_t *lowest; /* given: (lookahead), UNITY at first, a ring */
    double power;
    int64_t powered;
    int64_t lowest_sum;      /* given at first: lookahead * UNITY */
    int64_t limited_frames;  /* frames turned down so far */
    int32_t fade_frames;     /* given: from closed to open */
    int32_t fade_level;      /* 0 .. fade_frames */
    int32_t fade_open;       /* given at any time: where the fade goes */
    int32_t ceiling;         /* given at any time: largest magnitude out */
    int32_t release_q24;     /* given: recovery of the gain in a frame */
    int32_t recovering;      /* given at first: UNITY */
    int32_t lookahead;       /* given: frames */
    int32_t device_channels; /* given */
    int32_t at, needed_at;   /* where the rings stand */
    int32_t quiet;           /* frames since a gain below one was needed; given at first: large */
} edgesep_live_out;

/* Give a hop, (channels, samples), and get frames, (room, device_channels): their number, or a
 * negative status. stretch: samples out per nominal sample. */
int edgesep_live_push(edgesep_live_out *out, const int16_t *hop, int32_t samples, double stretch,
                      int16_t *frames, int32_t room);

#endif
