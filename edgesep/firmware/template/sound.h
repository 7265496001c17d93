/* What main_dma.c needs of the hardware; dma_*.c has it. */
#ifndef SOUND_H
#define SOUND_H

#include "ping_pong.h"

/* Start DMA over p->in and p->out, 16 kHz. Returns 1 when that went well. */
int sound_start(ping_pong *p);

/* Sleep until there may be something to do. Returns 0 when the sound has ended. */
int sound_wait(ping_pong *p);

#endif
