/* Classifies one N-MNIST recording with a compiled model: no malloc in the model, one static arena.
 *
 *   embed_c recording.bin
 */
#include <stdio.h>
#include <string.h>

#include "nmnist.h"

#define SIZE 34

static uint8_t arena[NMNIST_ARENA_BYTES] HQC_ALIGNED;
static float frames[NMNIST_INPUT_SIZE];

/* Five bytes an event: x, y, then polarity (top bit) and time in microseconds (23 bits). */
typedef struct {
    unsigned x, y, polarity;
    long time;
} event;

static int read_event(FILE *file, event *e, long *overflow)
{
    unsigned char b[5];
    do {
        if (fread(b, sizeof b, 1, file) != 1) return 0;
        if (b[1] == 240) *overflow += 1L << 13;
    } while (b[1] == 240);
    e->x = b[0];
    e->y = b[1];
    e->polarity = b[2] >> 7;
    e->time = ((long)(b[2] & 127) << 16 | b[3] << 8 | b[4]) + *overflow;
    return 1;
}

/* Counts events per time step, polarity and pixel; the steps divide the recording evenly. */
static int read_frames(FILE *file)
{
    event e;
    long first = 0, last = -1, overflow = 0;
    while (read_event(file, &e, &overflow)) {
        if (last < 0 || e.time < first) first = e.time;
        if (e.time > last) last = e.time;
    }
    if (last < 0) return 0;
    rewind(file);
    overflow = 0;
    while (read_event(file, &e, &overflow)) {
        const long long step = (long long)(e.time - first) * NMNIST_TIME_STEPS / (last - first + 1);
        if (e.x >= SIZE || e.y >= SIZE) return 0;
        frames[((step * 2 + e.polarity) * SIZE + e.y) * SIZE + e.x] += 1;
    }
    return 1;
}

int main(int argc, char **argv)
{
    float logits[NMNIST_OUTPUT_SIZE];
    nmnist_t model;
    hqc_status status;
    int best = 0, i;
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;

    if (file == NULL || !read_frames(file)) {
        fprintf(stderr, "usage: embed_c RECORDING.bin (N-MNIST events)\n");
        return 2;
    }
    fclose(file);

    status = nmnist_init(&model, arena, sizeof arena);
    if (status == HQC_OK) status = nmnist_run(&model, frames, logits);
    if (status != HQC_OK) {
        fprintf(stderr, "nmnist: %s\n", hqc_status_text(status));
        return 1;
    }
    for (i = 1; i < NMNIST_OUTPUT_SIZE; i++)
        if (logits[i] > logits[best]) best = i;
    printf("%d\n", best);
    return 0;
}
