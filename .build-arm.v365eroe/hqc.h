/* What every model compiled by hqc shares: status codes and alignment. C99, freestanding. */
#ifndef HQC_H
#define HQC_H

#include <stddef.h>
#include <stdint.h>

#define HQC_ALIGNMENT 64

#if defined(__GNUC__) || defined(__clang__)
#define HQC_ALIGNED __attribute__((aligned(HQC_ALIGNMENT)))
#elif defined(_MSC_VER)
#define HQC_ALIGNED __declspec(align(64))
#else
#define HQC_ALIGNED _Alignas(HQC_ALIGNMENT)
#endif

typedef enum {
    HQC_OK = 0,
    HQC_ERROR_NULL,
    HQC_ERROR_ARENA_SIZE,
    HQC_ERROR_ARENA_ALIGNMENT,
    HQC_ERROR_WEIGHTS,
    HQC_ERROR_NOT_READY,
    HQC_ERROR_TIME_STEPS
} hqc_status;

static inline const char *hqc_status_text(hqc_status status)
{
    switch (status) {
    case HQC_OK: return "ok";
    case HQC_ERROR_NULL: return "a pointer is NULL";
    case HQC_ERROR_ARENA_SIZE: return "the arena is smaller than the header says";
    case HQC_ERROR_ARENA_ALIGNMENT: return "the arena is not aligned: declare it HQC_ALIGNED";
    case HQC_ERROR_WEIGHTS: return "the weights are not those of this model";
    case HQC_ERROR_NOT_READY: return "call init first, and reset before the first step";
    case HQC_ERROR_TIME_STEPS: return "all time steps are done: read, then reset";
    }
    return "unknown status";
}

#endif
