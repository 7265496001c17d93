/* The same frames through TFLM and through edgesep's kernels, on an emulated board.
 *
 * WITH_TFLM, WITH_EXACT: which of them to link; with both, their masks are compared. Prints ticks
 * of SysTick for all frames, memory, and the number of frames whose masks differ.
 */
#include <cstdint>
#include <cstdio>
#include <cstring>

extern "C" {
#include "board.h"
#include "edgesep_network.h"
extern const edgesep_network edgesep_model_network;
extern const int frame_count, feature_bytes;
extern const int8_t frames[];
int main(int argc, char **argv);
}

#if WITH_TFLM
#include "edgesep_tflm.h"
#endif

#define MASK_BYTES 256

#if WITH_EXACT
static uint64_t memory[1 << 14];
#endif

int main(int, char **) {
    static int8_t tflm_mask[MASK_BYTES], exact_mask[MASK_BYTES];
    unsigned long long tflm_ticks = 0, exact_ticks = 0;
    unsigned differ = 0;
#if WITH_TFLM
    if (edgesep_tflm_init() != 0) {
        puts("TFLM refuses the model");
        return 1;
    }
    printf("arena %u\n", static_cast<unsigned>(edgesep_tflm_arena_used()));
#endif
#if WITH_EXACT
    if (edgesep_stream_init(memory, sizeof memory, &edgesep_model_network) != 0) {
        puts("the exact engine refuses the model");
        return 1;
    }
    printf("activations %d\n", static_cast<int>(edgesep_model_network.arena_bytes));
    printf("stream %u\n", static_cast<unsigned>(edgesep_stream_size(&edgesep_model_network)));
#endif
    for (int t = 0; t < frame_count; t++) {
        const int8_t *features = frames + t * feature_bytes;
#if WITH_TFLM
        board_start_ticks();
        const int tflm_status = edgesep_tflm_step(features, tflm_mask);
        tflm_ticks += board_ticks();
        if (tflm_status != 0) {
            return 1;
        }
#endif
#if WITH_EXACT
        board_start_ticks();
        const int exact_status =
            edgesep_stream_step(reinterpret_cast<edgesep_stream *>(memory), features, exact_mask);
        exact_ticks += board_ticks();
        if (exact_status != 0) {
            return 1;
        }
#endif
        differ += std::memcmp(tflm_mask, exact_mask, MASK_BYTES) != 0;
        (void)features;
    }
    printf("frames %d\n", frame_count);
    printf("tflm_ticks %lu\n", static_cast<unsigned long>(tflm_ticks));
    printf("exact_ticks %lu\n", static_cast<unsigned long>(exact_ticks));
    printf("differ %u\n", differ);
    return 0;
}
