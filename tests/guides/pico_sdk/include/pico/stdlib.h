/* What examples/rp2040 uses of the Pico SDK, declared as there. */
#ifndef STAND_IN_PICO_STDLIB_H
#define STAND_IN_PICO_STDLIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool stdio_init_all(void);
int getchar_timeout_us(uint32_t timeout_us);
uint32_t time_us_32(void);

#endif
