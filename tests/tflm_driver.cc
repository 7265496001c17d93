/* Features from stdin through the generated network, masks to stdout: twice, from a fresh start. */
#include <cstdint>
#include <cstdio>
#include <vector>

#include "edgesep_tflm.h"
#include "model_data.h"

#ifdef WITH_ETHOSU
#include "edgesep_ethosu.h"
#endif

int main() {
#ifdef WITH_ETHOSU
    int registers = 0;
    if (edgesep_ethosu_start(nullptr) == 0 || edgesep_ethosu_start(&registers) != 0) {
        return 9;
    }
    edgesep_ethosu_interrupt();
#endif
    std::vector<int8_t> stream;
    for (int c = std::getchar(); c != EOF; c = std::getchar()) {
        stream.push_back(static_cast<int8_t>(c));
    }
    int8_t mask[EDGESEP_MODEL_BANDS];
    if (edgesep_tflm_arena_used() != 0 || edgesep_tflm_step(stream.data(), mask) == 0) {
        return 1; /* before init */
    }
    for (int turn = 0; turn < 2; turn++) {
        if (edgesep_tflm_init() != 0) {
            return 2;
        }
        for (size_t t = 0; t < stream.size(); t += 2 * EDGESEP_MODEL_BANDS) {
            if (edgesep_tflm_step(stream.data() + t, mask) != 0) {
                return 3;
            }
            std::fwrite(mask, 1, sizeof mask, stdout);
        }
    }
    return edgesep_tflm_step(nullptr, mask) == 0 ? 4 : 0;
}
