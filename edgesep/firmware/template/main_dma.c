/* Example of live sound: DMA fills one hop while the other is isolated. dma_*.c is the hardware. */
#include "edgesep.h"
#include "ping_pong.h"
#include "sound.h"

static uint64_t memory[(EDGESEP_MEMORY_BYTES + 7) / 8];
static ping_pong sound; /* @BOARD@: keep it where DMA reaches it and no cache is between */

int main(void) {
    if (edgesep_init(memory, sizeof memory) != EDGESEP_OK || !sound_start(&sound)) {
        return 1;
    }
    while (sound_wait(&sound)) {
        while (ping_pong_poll(&sound)) {
            if (sound.status != EDGESEP_OK) {
                return 2;
            }
        }
    }
    return 0;
}
