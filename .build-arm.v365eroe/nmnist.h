/* nmnist: compiled by hqc 0.1.0 for arm-a72. */
#ifndef HQC_MODEL_NMNIST_H
#define HQC_MODEL_NMNIST_H

#include "hqc.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NMNIST_TIME_STEPS 8
#define NMNIST_STEP_INPUT_SIZE 2312 /* floats a time step: 1 x 2 x 34 x 34 */
#define NMNIST_INPUT_SIZE (NMNIST_TIME_STEPS * NMNIST_STEP_INPUT_SIZE)
#define NMNIST_OUTPUT_SIZE 10
#define NMNIST_ARENA_BYTES 100672u /* for nmnist_run */
#define NMNIST_STREAM_ARENA_BYTES 666048u /* for nmnist_step */

/* One model in use. Several may run at once, each with an arena of its own. */
typedef struct {
    uint8_t *arena;
    size_t arena_size;
    int32_t time_step;
} nmnist_t;

/* Take an arena, aligned to HQC_ALIGNMENT, for the life of the model. Checks the weights. */
hqc_status nmnist_init(nmnist_t *model, void *arena, size_t arena_size);

/* All time steps at once: frames[NMNIST_INPUT_SIZE] -> logits[NMNIST_OUTPUT_SIZE]. Ends streaming. */
hqc_status nmnist_run(nmnist_t *model, const float *frames, float *logits);

/* One time step at a time, for an arena of NMNIST_STREAM_ARENA_BYTES: reset, step for every frame,
 * read. The logits are those of nmnist_run after the last step; before it, of the steps so far. */
hqc_status nmnist_reset(nmnist_t *model);
hqc_status nmnist_step(nmnist_t *model, const float *frame);
hqc_status nmnist_read(nmnist_t *model, float *logits);

#ifdef __cplusplus
}
#endif

#endif
