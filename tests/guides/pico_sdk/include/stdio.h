#ifndef STAND_IN_STDIO_H
#define STAND_IN_STDIO_H

/* Text, %d, %u and %s. */
__attribute__((format(printf, 1, 2))) int printf(const char *format, ...);

#endif
