/* What the example needs of the board: SysTick, and the depth of the stack. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Start SysTick at zero; up to 2^24 - 1 ticks of the processor's clock. */
void board_start_ticks(void);

/* Ticks since then. */
uint32_t board_ticks(void);

/* Fill the free stack with a pattern. */
void board_paint_stack(void);

/* The most stack that has been in use since: the caller's frame and what main holds included. */
uint32_t board_stack_bytes(void);

#endif
