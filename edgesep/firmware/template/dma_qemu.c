/* DMA as QEMU can have it: SysTick's interrupt moves a hop from a recording, and one to another.
 *
 *     firmware_dma in.wav out.wav [period]     ticks of SysTick from hop to hop
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "sound.h"
#include "wav.h"

#define SECONDS 20
#define PERIOD_TICKS 8000000ul /* far more than a hop takes: QEMU's clock is slow */
#define HOP EDGESEP_HOP_SAMPLES

static int16_t recording[SECONDS * 16000]; /* what comes in; then, hop by hop, what goes out */
static long samples;
static ping_pong *stream;
static volatile long hops;
static const char *out_name;

/* What DMA has done by the end of a hop, and its interrupt. */
void board_tick(void) {
    int16_t *hop = recording + hops * HOP;
    const uint32_t half = (uint32_t)hops & 1u;
    if (hops * HOP >= samples) {
        return;
    }
    for (int k = 0; k < HOP; k++) {
        stream->in[half][PING_PONG_SLOTS * k] = hop[k];
        hop[k] = stream->out[half][PING_PONG_SLOTS * k];
    }
    hops++;
    ping_pong_filled(stream);
}

int sound_start(ping_pong *p) {
    char **arguments;
    const int count = board_arguments(&arguments);
    FILE *in = count >= 3 ? fopen(arguments[1], "rb") : NULL;
    samples = in == NULL ? -1 : wav_open(in);
    if (samples < 0 || samples > (long)(sizeof recording / sizeof *recording)) {
        fputs("firmware_dma: give a WAV file of 16 kHz, 16 bit, one channel, up to 20 s, "
              "and one to write\n", stderr);
        return 0;
    }
    samples = (long)fread(recording, sizeof *recording, (size_t)samples, in) / HOP * HOP;
    out_name = arguments[2];
    stream = p;
    board_start_interrupt(count > 3 ? (uint32_t)strtoul(arguments[3], NULL, 0) : PERIOD_TICKS);
    return 1;
}

static int save(void) {
    FILE *out = fopen(out_name, "wb");
    return out != NULL && wav_write_header(out, samples) &&
           fwrite(recording, sizeof *recording, (size_t)samples, out) == (size_t)samples &&
           fclose(out) == 0;
}

int sound_wait(ping_pong *p) {
    board_sleep_unless(&p->filled, p->done);
    if (hops * HOP < samples) {
        return 1;
    }
    if (!save()) {
        fprintf(stderr, "firmware_dma: %s: cannot write\n", out_name);
    }
    printf("hops %ld\nlate %lu\n", hops, (unsigned long)p->late);
    return 0;
}
