/* Counts the ticks of each step of a network and of the front end, on a QEMU machine. */
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "edgesep.h"

#define FRAMES 8

int main(void);

static uint64_t memory[(EDGESEP_MEMORY_BYTES + 7) / 8];
static int8_t features[2 * EDGESEP_MODEL_BANDS];
static int8_t mask[EDGESEP_MODEL_BANDS];

/* A network of `count` steps from `first` on: ticks of its last frame. */
static unsigned long step_ticks(int32_t first, int32_t count) {
    static edgesep_network part;
    part = edgesep_model_network;
    part.steps += first;
    part.step_count = count;
    if (edgesep_stream_init(memory, sizeof memory, &part) != EDGESEP_OK) {
        return 0;
    }
    unsigned long ticks = 0;
    for (int frame = 0; frame < 2; frame++) {
        board_start_ticks();
        if (edgesep_stream_step((edgesep_stream *)memory, features, mask) != EDGESEP_OK) {
            return 0;
        }
        ticks = board_ticks();
    }
    return ticks;
}

static unsigned long frame_ticks(void) {
    static int16_t hop[EDGESEP_HOP_SAMPLES];
    static uint32_t state = 1;
    unsigned long total = 0;
    edgesep_frontend *frontend = (edgesep_frontend *)memory;
    if (edgesep_frontend_init(memory, sizeof memory, &edgesep_model_contract) != EDGESEP_OK) {
        return 0;
    }
    for (int frame = 0; frame < FRAMES; frame++) {
        for (int k = 0; k < EDGESEP_HOP_SAMPLES; k++) {
            state = state * 1664525u + 1013904223u;
            hop[k] = (int16_t)((int32_t)(state >> 16) - 32768);
        }
        board_start_ticks();
        (void)edgesep_analyse(frontend, hop, features);
        (void)edgesep_synthesise(frontend, mask, edgesep_model_gains_q15, hop);
        total += frame < FRAMES / 2 ? 0 : board_ticks();
    }
    return total / (FRAMES / 2);
}

int main(void) {
    printf("frame %lu\n", frame_ticks());
    const unsigned long none = step_ticks(0, 0);
    printf("none %lu\n", none);
    for (int32_t i = 0; i < edgesep_model_network.step_count; i++) {
        printf("step %lu\n", step_ticks(i, 1) - none);
    }
    return 0;
}
