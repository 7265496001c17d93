/* Start-up of a Cortex-M under QEMU with semihosting: vectors, FPU, memory, arguments, exit. */
#include <stdint.h>
#include <string.h>

#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)
#define CCR REGISTER(0xE000ED14u)
#define CPACR REGISTER(0xE000ED88u)
#define SYS_GET_CMDLINE 0x15u
#define SYS_EXIT_EXTENDED 0x20u
#define EXIT_APPLICATION 0x20026u
#define TICKS_MAX 0xFFFFFFu
#define PATTERN 0xA5A5A5A5u
#define MAX_ARGUMENTS 8

extern uint32_t stack_low, stack_top, data_start, data_end, data_load, bss_start, bss_end;

extern void initialise_monitor_handles(void);
extern int main(int argc, char **argv);
void reset(void);

static char *arguments[MAX_ARGUMENTS];
static int argument_count;

static uint32_t semihost(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void finish(uint32_t status) {
    const uint32_t block[2] = {EXIT_APPLICATION, status};
    semihost(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

static void fault(void) {
    finish(255);
}

static int read_arguments(char **argv) {
    static char line[1024];
    const struct {
        char *text;
        uint32_t bytes;
    } block = {line, sizeof line};
    int argc = 0;
    if (semihost(SYS_GET_CMDLINE, &block) != 0) {
        return 0;
    }
    for (char *word = strtok(line, " "); word != NULL && argc < MAX_ARGUMENTS;
         word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    return argc;
}

__attribute__((noreturn)) void reset(void) {
    CPACR |= 0xFu << 20; /* floating point and vectors */
#if defined(__ARM_FEATURE_MVE)
    CCR |= 1u << 19; /* low-overhead loops */
#endif
    __asm__ volatile("dsb\n isb" ::: "memory");
    memcpy(&data_start, &data_load, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
    initialise_monitor_handles();
    argument_count = read_arguments(arguments);
    finish((uint32_t)main(argument_count, arguments));
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top,           (const void *)&reset, (const void *)&fault, (const void *)&fault,
    (const void *)&fault, (const void *)&fault, (const void *)&fault,
    [15] = (const void *)&board_tick,
};

/* For examples that use no interrupt. */
__attribute__((weak)) void board_tick(void) {
}

int board_arguments(char ***values) {
    *values = arguments;
    return argument_count;
}

void board_start_interrupt(uint32_t period) {
    SYST_RVR = (period - 1u) & TICKS_MAX;
    SYST_CVR = 0;
    SYST_CSR = 7; /* on, the processor's clock, interrupt */
}

void board_sleep_unless(const volatile uint32_t *count, uint32_t other) {
    __asm__ volatile("cpsid i" ::: "memory"); /* one that comes now still ends wfi */
    if (*count == other) {
        __asm__ volatile("wfi");
    }
    __asm__ volatile("cpsie i" ::: "memory");
}

void board_start_ticks(void) {
    SYST_RVR = TICKS_MAX;
    SYST_CVR = 0;
    SYST_CSR = 5; /* on, the processor's clock, no interrupt */
}

uint32_t board_ticks(void) {
    return TICKS_MAX - SYST_CVR;
}

void board_paint_stack(void) {
    const uint32_t *stack_pointer;
    __asm__ volatile("mov %0, sp" : "=r"(stack_pointer));
    /* 64 bytes are left: the compiler may push registers after it has read the pointer. */
    for (volatile uint32_t *word = &stack_low; word < stack_pointer - 16; word++) {
        *word = PATTERN;
    }
}

uint32_t board_stack_bytes(void) {
    const uint32_t *word = &stack_low;
    while (*word == PATTERN) {
        word++;
    }
    return (uint32_t)((const char *)&stack_top - (const char *)word);
}
