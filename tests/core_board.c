/* core_driver.c on an emulated board: jobs from a file, results into a file.
 *
 *     firmware jobs results
 *
 * One job more than there:
 *     'C', frames, 0 ..          frames x 512 int16  ->  printed: ticks of each part of the front
 *                                end, the mean of all frames at a hop and a fade of 128
 */
#define main driver_main
#include "core_driver.c"
#undef main

#include "board.h"
#include "edgesep_features.h"

enum { HOP = 128, BANDS = 128, RISE = 8, FALL = 3 };

typedef struct part {
    const char *name;
    uint32_t ticks;
} part;

static part parts[] = {
    {"analysis", 0}, {"powers", 0}, {"levels", 0},    {"floors", 0},
    {"mask", 0},     {"inverse", 0}, {"window", 0}, {"overlap_add", 0},
};

static void count(size_t i, uint32_t nothing) {
    parts[i].ticks += board_ticks() - nothing;
}

/* The parts of a hop of one channel, in their order. */
static void count_parts(int32_t frames) {
    static edgesep_block spectrum, masked, scratch;
    static uint64_t power[BANDS];
    static uint16_t edges[BANDS + 1];
    static int32_t levels[BANDS], floors[BANDS], gains[EDGESEP_BINS], samples[2 * HOP], tail[HOP];
    static int32_t window[2 * HOP];
    static int16_t frame[EDGESEP_WINDOW], hop[HOP];
    static int8_t features[2 * BANDS];
    for (int k = 0; k < EDGESEP_BINS; k++) {
        gains[k] = (k % 16 + 1) << 26;
        window[k] = 1 << 30;
        edges[k / 2] = (uint16_t)(k / 2 < 64 ? k / 2 : 3 * (k / 2) - 128);
    }
    edges[BANDS] = EDGESEP_BINS;
    board_start_ticks();
    const uint32_t nothing = board_ticks();
    for (int32_t i = 0; i < frames; i++) {
        get(frame, sizeof *frame, EDGESEP_WINDOW);
        memset(power, 0, sizeof power);
        board_start_ticks();
        edgesep_analyse_frame(frame, &spectrum, &scratch);
        count(0, nothing);
        board_start_ticks();
        edgesep_add_band_power(&spectrum, edges, BANDS, 0, power);
        count(1, nothing);
        board_start_ticks();
        edgesep_levels_q8(power, BANDS, 2 * (spectrum.exponent + 6), levels);
        count(2, nothing);
        board_start_ticks();
        edgesep_track_and_quantise(levels, BANDS, RISE, FALL, floors, features);
        count(3, nothing);
        board_start_ticks();
        const uint32_t extent = edgesep_apply_gains(&spectrum, gains, &masked);
        count(4, nothing);
        board_start_ticks();
        edgesep_synthesise_frame(&masked, &scratch, extent);
        count(5, nothing);
        board_start_ticks();
        edgesep_window_frame(&masked, window, 2 * HOP, samples);
        count(6, nothing);
        board_start_ticks();
        edgesep_overlap_add(samples, tail, HOP, HOP, hop);
        count(7, nothing);
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        printf("%s %lu\n", parts[i].name, (unsigned long)(parts[i].ticks / (uint32_t)frames));
    }
}

int main(int argc, char **argv) {
    if (argc != 3 || freopen(argv[1], "rb", stdin) == NULL) {
        return 2;
    }
    results = fopen(argv[2], "wb");
    if (results == NULL) {
        return 2;
    }
    int32_t job[8];
    while (fread(job, sizeof job, 1, stdin) == 1) {
        if (job[0] == 'C') {
            count_parts(job[1]);
        } else if (job[0] == 'F') {
            run_frames(job[1]);
        } else {
            run_stream(job);
        }
    }
    return fclose(results) == 0 ? 0 : 2;
}
