/* Double buffering between DMA and edgesep_process.
 *
 * DMA runs in a circle over both halves of `in`, and in step over both halves of `out`. When a half
 * is through, its interrupt calls ping_pong_filled and DMA goes on with the other one; meanwhile
 * the main loop calls ping_pong_poll, which isolates the half that has come in. What comes in
 * with hop k goes out with hop k + 2.
 *
 * A hop that is not ready in time is played as silence and counted. No dependency but edgesep.h.
 */
#ifndef PING_PONG_H
#define PING_PONG_H

#include <stdint.h>

#include "edgesep.h"

#define PING_PONG_SLOTS 2 /* samples a frame: I2S has two; the microphone is in the first */
#define PING_PONG_HALF (PING_PONG_SLOTS * EDGESEP_HOP_SAMPLES)

typedef struct ping_pong {
    int16_t in[2][PING_PONG_HALF];
    int16_t out[2][PING_PONG_HALF]; /* all slots hold the same */
    volatile uint32_t filled;       /* hops that came in: written by the interrupt only */
    volatile uint32_t done;         /* hops up to which all is isolated: by the main loop only */
    volatile uint32_t late;         /* hops that were silent instead: by the interrupt only */
    int status;                     /* of the last edgesep_process */
    int16_t hop[EDGESEP_HOP_SAMPLES];
} ping_pong;

/* From the interrupt: DMA is through with a half of `in` and of `out`. */
void ping_pong_filled(ping_pong *p);

/* From the main loop. Returns 1 after a hop, 0 when there is none to isolate. */
int ping_pong_poll(ping_pong *p);

#endif
