/* Double buffering between DMA and edgesep_process; see ping_pong.h. */
#include "ping_pong.h"

#include <string.h>

void ping_pong_filled(ping_pong *p) {
    const uint32_t hop = p->filled;
    if (p->done != hop) { /* DMA goes on with the half that should be ready now */
        memset(p->out[(hop + 1u) & 1u], 0, sizeof p->out[0]);
        p->late++;
    }
    p->filled = hop + 1u;
}

static void take(const int16_t *frames, int16_t *hop) {
    for (int k = 0; k < EDGESEP_HOP_SAMPLES; k++) {
        hop[k] = frames[PING_PONG_SLOTS * k];
    }
}

static void give(const int16_t *hop, int16_t *frames) {
    for (int k = 0; k < PING_PONG_HALF; k++) {
        frames[k] = hop[k / PING_PONG_SLOTS];
    }
}

int ping_pong_poll(ping_pong *p) {
    const uint32_t filled = p->filled;
    if (p->done == filled) {
        return 0;
    }
    const uint32_t half = (filled - 1u) & 1u; /* the newest: older ones are overwritten by now */
    take(p->in[half], p->hop);
    p->status = edgesep_process(p->hop, p->hop);
    if (p->filled == filled) { /* else too late: DMA is playing this half */
        give(p->hop, p->out[half]);
    }
    p->done = filled;
    return 1;
}
