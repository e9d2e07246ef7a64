/* Start-up, a serial line and a clock on ARM's MPS2 with AN385, as QEMU emulates it: stands in for the
 * Pico SDK's. Registers: Application Note AN385, and Cortex-M System Design Kit, APB UART. */
#include <stdarg.h>
#include <stdio.h>

#include "pico/stdlib.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define UART_DATA REGISTER(0x40004000)
#define UART_STATE REGISTER(0x40004004) /* 1: no byte can be sent; 2: a byte has come */
#define UART_CONTROL REGISTER(0x40004008) /* 1: send; 2: receive */
#define UART_DIVISOR REGISTER(0x40004010)
#define MICROSECONDS REGISTER(0x40028018)
#define PRESCALE REGISTER(0x4002801C) /* of 25 MHz */

#define NO_BYTE (-1)

extern uint8_t data_source[], data_begin[], data_end[], bss_begin[], bss_end[], stack_top[];
int main(void);
void start(void);

__attribute__((section(".stack"), used)) static uint8_t stack[PICO_STACK_SIZE];
__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    stack_top, (const void *)start};

/* Not to be compiled to calls of themselves. */
#define AS_WRITTEN __attribute__((optimize("no-tree-loop-distribute-patterns")))

AS_WRITTEN void *memcpy(void *to, const void *from, size_t size)
{
    size_t i;
    for (i = 0; i < size; i++) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

AS_WRITTEN void *memset(void *data, int byte, size_t size)
{
    size_t i;
    for (i = 0; i < size; i++) ((uint8_t *)data)[i] = (uint8_t)byte;
    return data;
}

void start(void)
{
    memcpy(data_begin, data_source, (size_t)(data_end - data_begin));
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    PRESCALE = 24;
    main();
    for (;;) {
    }
}

bool stdio_init_all(void)
{
    UART_DIVISOR = 16;
    UART_CONTROL = 3;
    return true;
}

uint32_t time_us_32(void)
{
    return MICROSECONDS;
}

int getchar_timeout_us(uint32_t timeout_us)
{
    const uint32_t begin = time_us_32();
    while (!(UART_STATE & 2))
        if (time_us_32() - begin >= timeout_us) return NO_BYTE;
    return (int)(UART_DATA & 255);
}

static void put(char c)
{
    while (UART_STATE & 1) {
    }
    UART_DATA = (uint8_t)c;
}

static void put_number(unsigned value)
{
    if (value >= 10) put_number(value / 10);
    put((char)('0' + value % 10));
}

int printf(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format == '\n') put('\r'); /* as the SDK does */
        if (*format != '%') {
            put(*format);
            continue;
        }
        format++;
        if (*format == 's') {
            const char *text = va_arg(arguments, const char *);
            while (*text) put(*text++);
        } else if (*format == 'u') {
            put_number(va_arg(arguments, unsigned));
        } else {
            const int value = va_arg(arguments, int);
            if (value < 0) put('-');
            put_number(value < 0 ? 0u - (unsigned)value : (unsigned)value);
        }
    }
    va_end(arguments);
    return 0;
}
