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

#define HEADER_BYTES 44

static uint64_t memory[(EDGESEP_MEMORY_BYTES + 7) / 8];
static int16_t hop[EDGESEP_HOP_SAMPLES];

static uint32_t little(const uint8_t *bytes, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; i++) {
        value |= (uint32_t)bytes[i] << (8 * i);
    }
    return value;
}

static void put_little(uint8_t *bytes, uint32_t value, int count) {
    for (int i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
}

/* Find the samples. Returns their number, or -1 for a file that is not what is wanted. */
static long open_samples(FILE *in) {
    uint8_t head[12], chunk[8], format[16];
    int known = 0;
    if (fread(head, sizeof head, 1, in) != 1 || memcmp(head, "RIFF", 4) != 0 ||
        memcmp(head + 8, "WAVE", 4) != 0) {
        return -1;
    }
    while (fread(chunk, sizeof chunk, 1, in) == 1) {
        const uint32_t bytes = little(chunk + 4, 4);
        if (memcmp(chunk, "data", 4) == 0) {
            return known ? (long)(bytes / sizeof(int16_t)) : -1;
        }
        long rest = (long)(bytes + (bytes & 1));
        if (memcmp(chunk, "fmt ", 4) == 0 && rest >= (long)sizeof format) {
            if (fread(format, sizeof format, 1, in) != 1) {
                return -1;
            }
            rest -= (long)sizeof format;
            known = little(format, 2) == 1 && little(format + 2, 2) == 1 &&
                    little(format + 4, 4) == 16000 && little(format + 14, 2) == 16;
        }
        if (fseek(in, rest, SEEK_CUR) != 0) {
            return -1;
        }
    }
    return -1;
}

static int write_header(FILE *out, long samples) {
    uint8_t header[HEADER_BYTES];
    const uint32_t bytes = (uint32_t)samples * 2u;
    memcpy(header, "RIFF....WAVEfmt ", 16);
    put_little(header + 4, bytes + HEADER_BYTES - 8, 4);
    put_little(header + 16, 16, 4);
    put_little(header + 20, 1, 2);
    put_little(header + 22, 1, 2);
    put_little(header + 24, 16000, 4);
    put_little(header + 28, 32000, 4);
    put_little(header + 32, 2, 2);
    put_little(header + 34, 16, 2);
    memcpy(header + 36, "data", 4);
    put_little(header + 40, bytes, 4);
    return fwrite(header, sizeof header, 1, out) == 1;
}

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
    const long samples = in == NULL ? -1 : open_samples(in);
    if (samples < 0) {
        fprintf(stderr, "firmware: %s: not a WAV file of 16 kHz, 16 bit, one channel\n", argv[1]);
        return 1;
    }
    FILE *out = fopen(argv[2], "wb");
    if (out == NULL || !write_header(out, samples)) {
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
