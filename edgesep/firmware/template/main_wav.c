/* Example for QEMU or a debug probe with semihosting: a WAV file in, a WAV file out.
 *
 *     firmware in.wav out.wav        16 kHz, 16 bit, one channel
 *
 * The output is as long as the input and aligned with it. What is printed: memory, the deepest
 * stack, and SysTick ticks per hop.
 */
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "edgesep.h"
#include "wav.h"

static uint64_t memory[(EDGESEP_MEMORY_BYTES + 7) / 8];
static int16_t hop[EDGESEP_HOP_SAMPLES];

typedef struct cost {
    uint64_t ticks;
    uint32_t hops, stack;
} cost;

static int process(cost *total) {
    board_paint_stack();
    board_start_ticks();
    const int status = edgesep_process(hop, hop);
    total->ticks += board_ticks();
    const uint32_t stack = board_stack_bytes();
    total->stack = stack > total->stack ? stack : total->stack;
    total->hops++;
    return status;
}

/* All samples through the frame path; the delay is taken out. Returns 0 when all went well. */
static int isolate(FILE *in, FILE *out, long samples, cost *total) {
    long written = 0;
    long skip = EDGESEP_DELAY_SAMPLES;
    while (written < samples) {
        const size_t got = fread(hop, sizeof *hop, EDGESEP_HOP_SAMPLES, in);
        memset(hop + got, 0, (EDGESEP_HOP_SAMPLES - got) * sizeof *hop);
        const int status = process(total);
        if (status != EDGESEP_OK) {
            return status;
        }
        const long first = skip < EDGESEP_HOP_SAMPLES ? skip : EDGESEP_HOP_SAMPLES;
        skip -= first;
        long count = EDGESEP_HOP_SAMPLES - first;
        count = count < samples - written ? count : samples - written;
        if (fwrite(hop + first, sizeof *hop, (size_t)count, out) != (size_t)count) {
            return EDGESEP_BAD_ARGUMENT;
        }
        written += count;
    }
    return EDGESEP_OK;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fputs("firmware: give an input and an output WAV file\n", stderr);
        return 2;
    }
    FILE *in = fopen(argv[1], "rb");
    const long samples = in == NULL ? -1 : wav_open(in);
    if (samples < 0) {
        fprintf(stderr, "firmware: %s: not a WAV file of 16 kHz, 16 bit, one channel\n", argv[1]);
        return 1;
    }
    FILE *out = fopen(argv[2], "wb");
    if (out == NULL || !wav_write_header(out, samples)) {
        fprintf(stderr, "firmware: %s: cannot write\n", argv[2]);
        return 1;
    }
    if (edgesep_init(memory, sizeof memory) != EDGESEP_OK) {
        fputs("firmware: the memory does not do\n", stderr);
        return 1;
    }
    cost total = {0, 0, 0};
    const int status = isolate(in, out, samples, &total);
    if (status != EDGESEP_OK || fclose(out) != 0) {
        fprintf(stderr, "firmware: stopped with status %d\n", status);
        return 1;
    }
    printf("memory %u bytes\n", (unsigned)edgesep_memory_size());
    printf("stack %u bytes\n", (unsigned)total.stack);
    printf("hops %u\n", (unsigned)total.hops);
    printf("ticks %lu\n", (unsigned long)total.ticks);
    return 0;
}
