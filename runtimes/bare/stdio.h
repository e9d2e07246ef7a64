/* Files are those of the machine that runs the emulator; see semihosting.c. */
#ifndef HQC_BARE_STDIO_H
#define HQC_BARE_STDIO_H

#include <stddef.h>

enum { stdin, stdout, stderr };

size_t fread(void *data, size_t size, size_t count, int file);
size_t fwrite(const void *data, size_t size, size_t count, int file);

/* Strings and %s alone. */
int fprintf(int file, const char *format, ...);

#endif
