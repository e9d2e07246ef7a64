/* There is no clock: every time is 0. */
#ifndef HQC_BARE_TIME_H
#define HQC_BARE_TIME_H

struct timespec {
    long tv_sec, tv_nsec;
};
enum { CLOCK_MONOTONIC };

int clock_gettime(int clock, struct timespec *time);

#endif
