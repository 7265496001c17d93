/* What the examples need of the board: SysTick, arguments, and the depth of the stack. */
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

/* The words of the command line. Returns their number. */
int board_arguments(char ***values);

/* Call board_tick, which an example may define, every `period` ticks: 2 to 2^24. */
void board_start_interrupt(uint32_t period);
void board_tick(void);

/* Sleep until the next interrupt, unless the count has another value by now. */
void board_sleep_unless(const volatile uint32_t *count, uint32_t other);

#endif
