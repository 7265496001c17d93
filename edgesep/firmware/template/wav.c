/* WAV files for the examples; see wav.h. */
#include "wav.h"

#include <stdint.h>
#include <string.h>

#define HEADER_BYTES 44

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

long wav_open(FILE *in) {
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

int wav_write_header(FILE *out, long samples) {
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
