/* WAV files of 16 kHz, 16 bit, one channel, for the examples. */
#ifndef WAV_H
#define WAV_H

#include <stdio.h>

/* Find the samples. Returns their number, or -1 for a file that is not what is wanted. */
long wav_open(FILE *in);

/* Write a header for so many samples. Returns 1 when that went well. */
int wav_write_header(FILE *out, long samples);

#endif
