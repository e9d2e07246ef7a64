#ifndef HQC_BARE_STRING_H
#define HQC_BARE_STRING_H

#include <stddef.h>

void *memset(void *data, int byte, size_t size);
void *memcpy(void *data, const void *from, size_t size);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);

#endif
