/* Does TFLM take a model that Vela has compiled, in the arena that is stated? There is no NPU here:
 * the driver's calls do nothing, and the mask is not looked at. */
#include <cstdint>
#include <cstdio>

#include "edgesep_tflm.h"
#include "model_data.h"

extern "C" {
#include <ethosu_driver.h>
int main(int argc, char **argv);

static struct ethosu_driver driver;
static int addresses;

struct ethosu_driver *ethosu_reserve_driver(void) {
    return &driver;
}

int ethosu_invoke_v3(struct ethosu_driver *, const void *, const int, uint64_t *const,
                     const size_t *, const int num_base_addr, void *) {
    addresses = num_base_addr;
    return 0;
}

void ethosu_release_driver(struct ethosu_driver *) {}
}

int main(int, char **) {
    static int8_t features[2 * EDGESEP_MODEL_BANDS], mask[EDGESEP_MODEL_BANDS];
    if (edgesep_tflm_init() != 0 || edgesep_tflm_step(features, mask) != 0) {
        puts("TFLM refuses the compiled model");
        return 1;
    }
    printf("arena %u\n", static_cast<unsigned>(edgesep_tflm_arena_used()));
    printf("addresses %d\n", addresses);
    return 0;
}
