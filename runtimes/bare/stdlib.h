#ifndef HQC_BARE_STDLIB_H
#define HQC_BARE_STDLIB_H

void exit(int code);
int atoi(const char *text);

#endif
