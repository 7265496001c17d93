/* Runs a network without Python, for sanitizers and for other processors.
 *
 *     network_driver check           every bad argument gets its status code
 *     network_driver < features      features of frame after frame in, masks out
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgesep_network.h"

extern const edgesep_network network; /* made by edgesep.engine.source */

static int failures = 0;

static void expect(const char *what, int got, int wanted) {
    if (got != wanted) {
        failures++;
        printf("%s: %d, not %d\n", what, got, wanted);
    }
}

static void run(void) {
    const size_t size = edgesep_stream_size(&network);
    edgesep_stream *stream = malloc(size); /* exact, so that a sanitizer sees each overrun */
    int8_t *features = malloc((size_t)network.features_bytes);
    int8_t *mask = malloc((size_t)network.mask_bytes);
    expect("init", edgesep_stream_init(stream, size, &network), EDGESEP_OK);
    while (fread(features, (size_t)network.features_bytes, 1, stdin) == 1) {
        expect("step", edgesep_stream_step(stream, features, mask), EDGESEP_OK);
        fwrite(mask, (size_t)network.mask_bytes, 1, stdout);
    }
    free(mask);
    free(features);
    free(stream);
}

static void check_calls(void) {
    static int8_t features[4096], mask[4096], first[4096];
    const size_t size = edgesep_stream_size(&network);
    uint64_t *memory = calloc(size / 8 + 2, 8);
    edgesep_stream *s = (edgesep_stream *)memory;
    expect("not ready: reset", edgesep_stream_reset(s), EDGESEP_NOT_READY);
    expect("not ready: step", edgesep_stream_step(s, features, mask), EDGESEP_NOT_READY);
    expect("null memory", edgesep_stream_init(NULL, size, &network), EDGESEP_BAD_MEMORY);
    expect("small memory", edgesep_stream_init(memory, size - 1, &network), EDGESEP_BAD_MEMORY);
    expect("odd memory", edgesep_stream_init((char *)memory + 4, size, &network),
           EDGESEP_BAD_MEMORY);
    expect("null network", edgesep_stream_init(memory, size, NULL), EDGESEP_BAD_NETWORK);
    expect("good init", edgesep_stream_init(memory, size, &network), EDGESEP_OK);
    expect("null reset", edgesep_stream_reset(NULL), EDGESEP_BAD_ARGUMENT);
    expect("null stream", edgesep_stream_step(NULL, features, mask), EDGESEP_BAD_ARGUMENT);
    expect("null features", edgesep_stream_step(s, NULL, mask), EDGESEP_BAD_ARGUMENT);
    expect("null mask", edgesep_stream_step(s, features, NULL), EDGESEP_BAD_ARGUMENT);
    expect("good step", edgesep_stream_step(s, features, first), EDGESEP_OK);
    memset(features, 100, sizeof features);
    expect("good step", edgesep_stream_step(s, features, mask), EDGESEP_OK);
    memset(features, 0, sizeof features);
    expect("good reset", edgesep_stream_reset(s), EDGESEP_OK);
    expect("good step", edgesep_stream_step(s, features, mask), EDGESEP_OK);
    expect("reset", memcmp(first, mask, (size_t)network.mask_bytes), 0);
    free(memory);
}

static void refuse(const char *what, const edgesep_network *n) {
    expect(what, (int)edgesep_stream_size(n), 0);
}

/* The network with one number of one step changed. */
static void check_filter(const char *what, edgesep_filter filter) {
    edgesep_filter *filters = malloc((size_t)network.filter_count * sizeof *filters);
    edgesep_network n = network;
    memcpy(filters, network.filters, (size_t)network.filter_count * sizeof *filters);
    filters[0] = filter;
    n.filters = filters;
    refuse(what, &n);
    free(filters);
}

static void check_filters(void) {
    const edgesep_filter good = network.filters[0];
    edgesep_filter f;
    f = good, f.input = -1, check_filter("input", f);
    f = good, f.output = network.arena_bytes - 1, check_filter("output", f);
    f = good, f.in_width = INT32_MAX, check_filter("width", f);
    f = good, f.out_height = 0, check_filter("height", f);
    f = good, f.out_channels = 30000, check_filter("channels", f);
    f = good, f.kernel_height = 200, check_filter("kernel", f);
    f = good, f.stride_width = 0, check_filter("stride", f);
    f = good, f.pad_top = -1, check_filter("padding", f);
    f = good, f.pad_left = f.kernel_width, check_filter("padding", f);
    f = good, f.low = -129, check_filter("low", f);
    f = good, f.row_bytes += EDGESEP_ROW_ALIGN * 1000, check_filter("row", f);
    f = good, f.weights = NULL, check_filter("weights", f);
    f = good, f.shift = NULL, check_filter("shift", f);
}

static void check_networks(void) {
    edgesep_step steps[1] = {{EDGESEP_CONV, network.filter_count}};
    edgesep_recall r = network.recalls[0];
    edgesep_sum s = network.sums[0];
    edgesep_lookup l = network.lookups[0];
    edgesep_network n;
    n = network, n.steps = NULL, refuse("no steps", &n);
    n = network, n.features = -1, refuse("features", &n);
    n = network, n.mask_bytes = n.arena_bytes + 1, refuse("mask", &n);
    n = network, n.arena_bytes /= 2, refuse("arena", &n);
    n = network, n.rings_bytes -= EDGESEP_ROW_ALIGN, refuse("rings", &n);
    n = network, n.patch_values = 0, refuse("patch", &n);
    n = network, n.recall_count = -1, refuse("count", &n);
    n = network, n.steps = steps, n.step_count = 1, refuse("index", &n);
    steps[0].index = -1, refuse("index", &n);
    steps[0].kind = -1, refuse("kind", &n);
    steps[0].kind = EDGESEP_LOOKUP + 1, refuse("kind", &n);
    steps[0].index = 0;
    steps[0].kind = EDGESEP_RECALL, n.recalls = &r;
    r.taps = 20000, r.dilation = 20000, refuse("taps", &n);
    r = network.recalls[0], r.ring = -16, refuse("ring", &n);
    steps[0].kind = EDGESEP_SUM, n.sums = &s;
    s.count = n.arena_bytes + 1, refuse("sum", &n);
    steps[0].kind = EDGESEP_LOOKUP, n.lookups = &l;
    l.table = NULL, refuse("table", &n);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "check") == 0) {
        check_calls();
        check_filters();
        check_networks();
    } else {
        run();
    }
    return failures == 0 ? 0 : 1;
}
