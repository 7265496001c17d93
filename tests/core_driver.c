/* Runs the core without Python, for sanitizers and for other processors.
 *
 *     core_driver check          every bad argument gets its status code
 *     core_driver < jobs         jobs in, results out, in the byte order of the machine
 *
 * A job is eight int32 and its data:
 *     'F', frames, 0 ..          frames x 512 int16  ->  re, im (256 int32 each), exponent,
 *                                then back: samples (512 int32), exponent
 *     'S', hops, hop, fade, channels, bands, rise, fall
 *                                bands + 1 edges (uint16), 256 gains (uint16), then for each hop
 *                                channels x hop int16 and bands int8
 *                                ->  for each hop 2 x bands int8 and channels x hop int16
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgesep_frame.h"
#include "edgesep_frontend.h"
#include "edgesep_mask.h"

static void get(void *data, size_t size, size_t count) {
    if (fread(data, size, count, stdin) != count) {
        fputs("input ended early\n", stderr);
        exit(2);
    }
}

static FILE *results;

static void put(const void *data, size_t size, size_t count) {
    if (fwrite(data, size, count, results) != count) {
        fputs("cannot write\n", stderr);
        exit(2);
    }
}

static void must(int status) {
    if (status != EDGESEP_OK) {
        fprintf(stderr, "%s\n", edgesep_status_text(status));
        exit(2);
    }
}

static void run_frames(int32_t count) {
    int16_t frame[EDGESEP_WINDOW];
    int32_t re[EDGESEP_BINS], im[EDGESEP_BINS], exponent, samples[EDGESEP_WINDOW], out_exponent;
    for (int32_t i = 0; i < count; i++) {
        get(frame, sizeof *frame, EDGESEP_WINDOW);
        must(edgesep_forward(frame, 1, re, im, &exponent));
        must(edgesep_inverse(re, im, &exponent, 1, samples, &out_exponent));
        put(re, sizeof re, 1);
        put(im, sizeof im, 1);
        put(&exponent, sizeof exponent, 1);
        put(samples, sizeof samples, 1);
        put(&out_exponent, sizeof out_exponent, 1);
    }
}

static void run_stream(const int32_t job[8]) {
    static uint16_t edges[EDGESEP_BINS + 1], gains[256];
    static int16_t hop[EDGESEP_MAX_CHANNELS * EDGESEP_BINS];
    static int8_t mask[EDGESEP_BINS], features[2 * EDGESEP_BINS];
    const edgesep_contract contract = {
        .hop_samples = job[2],
        .fade_samples = job[3],
        .channels = job[4],
        .bands = job[5],
        .floor_rise_shift = job[6],
        .floor_fall_shift = job[7],
        .band_edges = edges,
    };
    const size_t bands = (size_t)job[5], samples = (size_t)job[4] * (size_t)job[2];
    get(edges, sizeof *edges, bands + 1);
    get(gains, sizeof *gains, 256);
    const size_t size = edgesep_frontend_size(&contract);
    edgesep_frontend *frontend = malloc(size); /* exact, so that a sanitizer sees each overrun */
    must(edgesep_frontend_init(frontend, size, &contract));
    for (int32_t i = 0; i < job[1]; i++) {
        get(hop, sizeof *hop, samples);
        get(mask, sizeof *mask, bands);
        must(edgesep_analyse(frontend, hop, features));
        must(edgesep_synthesise(frontend, mask, gains, hop));
        put(features, sizeof *features, 2 * bands);
        put(hop, sizeof *hop, samples);
    }
    free(frontend);
}

static int failures = 0;

static void expect(const char *what, int got, int wanted) {
    if (got != wanted) {
        failures++;
        printf("%s: %d, not %d\n", what, got, wanted);
    }
}

static void check_contract(edgesep_contract contract, const char *what) {
    static uint64_t memory[4096];
    expect(what, (int)edgesep_frontend_size(&contract), 0);
    expect(what, edgesep_frontend_init(memory, sizeof memory, &contract), EDGESEP_BAD_CONTRACT);
}

static void check_contracts(const edgesep_contract good) {
    static const uint16_t falling[] = {0, 100, 90, 256};
    static const uint16_t offset[] = {1, 100, 200, 256};
    static const uint16_t too_long[] = {0, 100, 200, 257};
    static const uint16_t too_short[] = {0, 100, 200, 255};
    const uint16_t *const edges[] = {NULL, falling, offset, too_long, too_short};
    const int32_t sizes[] = {INT32_MIN, -32, -1, 0, 1, 16, 33, 96, 512, INT32_MAX};
    edgesep_contract c;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        c = good, c.hop_samples = sizes[i], check_contract(c, "hop");
        c = good, c.fade_samples = sizes[i], check_contract(c, "fade");
    }
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        c = good, c.band_edges = edges[i], check_contract(c, "edges");
    }
    c = good, c.hop_samples = 32, c.fade_samples = 64, check_contract(c, "fade above hop");
    c = good, c.fade_samples = 256, check_contract(c, "long fade");
    c = good, c.channels = 0, check_contract(c, "no channel");
    c = good, c.channels = 65, check_contract(c, "many channels");
    c = good, c.bands = 0, check_contract(c, "no band");
    c = good, c.bands = 257, check_contract(c, "many bands");
    c = good, c.floor_rise_shift = -1, check_contract(c, "rise");
    c = good, c.floor_fall_shift = 17, check_contract(c, "fall");
    expect("null contract", (int)edgesep_frontend_size(NULL), 0);
}

static void check_calls(const edgesep_contract *good) {
    static uint64_t memory[4096];
    static int16_t hop[128];
    static int8_t features[6], mask[3];
    static uint16_t gains[256];
    const size_t size = edgesep_frontend_size(good);
    edgesep_frontend *f = (edgesep_frontend *)memory;
    expect("not ready: reset", edgesep_frontend_reset(f), EDGESEP_NOT_READY);
    expect("not ready: analyse", edgesep_analyse(f, hop, features), EDGESEP_NOT_READY);
    expect("not ready: synthesise", edgesep_synthesise(f, mask, gains, hop), EDGESEP_NOT_READY);
    expect("null memory", edgesep_frontend_init(NULL, size, good), EDGESEP_BAD_MEMORY);
    expect("small memory", edgesep_frontend_init(memory, size - 1, good), EDGESEP_BAD_MEMORY);
    expect("odd memory", edgesep_frontend_init((char *)memory + 4, size, good), EDGESEP_BAD_MEMORY);
    expect("size fits", size <= sizeof memory, 1);
    expect("good init", edgesep_frontend_init(memory, size, good), EDGESEP_OK);
    expect("null reset", edgesep_frontend_reset(NULL), EDGESEP_BAD_ARGUMENT);
    expect("null frontend", edgesep_analyse(NULL, hop, features), EDGESEP_BAD_ARGUMENT);
    expect("null hop", edgesep_analyse(f, NULL, features), EDGESEP_BAD_ARGUMENT);
    expect("null features", edgesep_analyse(f, hop, NULL), EDGESEP_BAD_ARGUMENT);
    expect("null frontend", edgesep_synthesise(NULL, mask, gains, hop), EDGESEP_BAD_ARGUMENT);
    expect("null mask", edgesep_synthesise(f, NULL, gains, hop), EDGESEP_BAD_ARGUMENT);
    expect("null gains", edgesep_synthesise(f, mask, NULL, hop), EDGESEP_BAD_ARGUMENT);
    expect("null output", edgesep_synthesise(f, mask, gains, NULL), EDGESEP_BAD_ARGUMENT);
    gains[128] = 32769;
    expect("gain", edgesep_synthesise(f, mask, gains, hop), EDGESEP_BAD_GAIN);
    expect("good analyse", edgesep_analyse(f, hop, features), EDGESEP_OK);
}

static void check_helpers(void) {
    static int16_t frame[EDGESEP_WINDOW];
    static int32_t re[EDGESEP_BINS], im[EDGESEP_BINS], exponent, samples[EDGESEP_WINDOW];
    static uint16_t gains[256];
    expect("null gains", edgesep_gain_table(0, 0, 0, NULL), EDGESEP_BAD_ARGUMENT);
    expect("floor", edgesep_gain_table(32769, 0, 0, gains), EDGESEP_BAD_ARGUMENT);
    expect("wet", edgesep_gain_table(0, -1, 0, gains), EDGESEP_BAD_ARGUMENT);
    expect("null frames", edgesep_forward(NULL, 1, re, im, &exponent), EDGESEP_BAD_ARGUMENT);
    expect("null re", edgesep_forward(frame, 1, NULL, im, &exponent), EDGESEP_BAD_ARGUMENT);
    expect("count", edgesep_forward(frame, -1, re, im, &exponent), EDGESEP_BAD_ARGUMENT);
    expect("null samples", edgesep_inverse(re, im, &exponent, 1, NULL, &exponent),
           EDGESEP_BAD_ARGUMENT);
    exponent = INT32_MIN;
    expect("exponent", edgesep_inverse(re, im, &exponent, 1, samples, &exponent),
           EDGESEP_BAD_ARGUMENT);
    for (int status = -10; status < 10; status++) {
        expect("text", edgesep_status_text(status) != NULL, 1);
    }
}

/* One synthesised sample, straight from the contract. */
static int64_t contract_sample(int64_t sample, int64_t window, int exponent) {
    const int64_t limit = (INT64_C(1) << 30) - 512;
    const int shift = -(exponent + 2 + 10);
    int64_t y = (sample * window + (INT64_C(1) << 31)) >> 32;
    if (shift > 62) {
        y = 0;
    } else if (shift > 0) {
        y = (y + (INT64_C(1) << (shift - 1))) >> shift;
    } else {
        y *= INT64_C(1) << (shift < -31 ? 31 : -shift);
    }
    return y < -limit ? -limit : y > limit ? limit : y;
}

/* All shifts, left ones too, which no stream reaches with more than faint samples. */
static void check_window(void) {
    static edgesep_block frame;
    static int32_t window[384], samples[384];
    const int32_t values[] = {0, 1, -1, 999, -77777, 1 << 30, INT32_MAX, INT32_MIN};
    const int32_t weights[] = {1 << 30, 1518500250, 3294208};
    for (int n = 0; n < 384; n++) {
        window[n] = weights[n % 3];
    }
    for (int n = 0; n < EDGESEP_BINS; n++) {
        frame.re[n] = values[n % 8];
        frame.im[n] = values[n / 8 % 8];
    }
    for (frame.exponent = -90; frame.exponent < 60; frame.exponent++) {
        edgesep_window_frame(&frame, window, 384, samples);
        for (int n = 0; n < 384; n++) {
            const int pair = (EDGESEP_WINDOW - 384 + n) / 2;
            const int32_t sample = n % 2 == 0 ? frame.im[pair] : frame.re[pair];
            const int64_t wanted = contract_sample(sample, window[n], frame.exponent);
            expect("window", samples[n], (int)wanted);
        }
    }
}

int main(int argc, char **argv) {
    static const uint16_t edges[] = {0, 100, 200, 256};
    const edgesep_contract good = {128, 128, 1, 3, 8, 3, edges};
    if (argc > 1 && strcmp(argv[1], "check") == 0) {
        check_contracts(good);
        check_calls(&good);
        check_helpers();
        check_window();
        return failures == 0 ? 0 : 1;
    }
    results = stdout;
    int32_t job[8];
    while (fread(job, sizeof job, 1, stdin) == 1) {
        if (job[0] == 'F') {
            run_frames(job[1]);
        } else {
            run_stream(job);
        }
    }
    return 0;
}
