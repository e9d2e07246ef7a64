/* Runs nmnist on recordings: float frames from standard input, logits to standard output.
 *
 *   nmnist_runner          whole runs
 *   nmnist_runner stream   step by step
 *
 * Guard bytes around the arena are checked after every recording. */
#include <stdio.h>
#include <string.h>

#include "nmnist.h"

#define GUARD HQC_ALIGNMENT
#define GUARD_BYTE 0xA5

static uint8_t memory[GUARD + NMNIST_STREAM_ARENA_BYTES + NMNIST_ARENA_BYTES + GUARD] HQC_ALIGNED;
static float frames[NMNIST_INPUT_SIZE];
static float logits[NMNIST_OUTPUT_SIZE];

static int guards_hold(size_t arena_size)
{
    size_t i;
    for (i = 0; i < GUARD; i++)
        if (memory[i] != GUARD_BYTE || memory[GUARD + arena_size + i] != GUARD_BYTE) return 0;
    return 1;
}

static hqc_status infer(nmnist_t *model, int stream)
{
    hqc_status status;
    int32_t t;
    if (!stream) return nmnist_run(model, frames, logits);
    status = nmnist_reset(model);
    for (t = 0; t < NMNIST_TIME_STEPS && status == HQC_OK; t++)
        status = nmnist_step(model, frames + t * NMNIST_STEP_INPUT_SIZE);
    return status == HQC_OK ? nmnist_read(model, logits) : status;
}

int main(int argc, char **argv)
{
    const int stream = argc > 1 && strcmp(argv[1], "stream") == 0;
    const size_t arena_size = stream && NMNIST_STREAM_ARENA_BYTES > NMNIST_ARENA_BYTES
                                  ? NMNIST_STREAM_ARENA_BYTES
                                  : NMNIST_ARENA_BYTES;
    nmnist_t model;
    hqc_status status;
    memset(memory, GUARD_BYTE, sizeof memory);
    status = nmnist_init(&model, memory + GUARD, arena_size);
    while (status == HQC_OK && fread(frames, sizeof frames, 1, stdin) == 1) {
        status = infer(&model, stream);
        if (!guards_hold(arena_size)) {
            fprintf(stderr, "nmnist: wrote outside its arena\n");
            return 1;
        }
        fwrite(logits, sizeof logits, 1, stdout);
    }
    if (status != HQC_OK) fprintf(stderr, "nmnist: %s\n", hqc_status_text(status));
    return status != HQC_OK;
}
