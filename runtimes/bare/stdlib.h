#ifndef HQC_BARE_STDLIB_H
#define HQC_BARE_STDLIB_H

void exit(int code);

#endif
