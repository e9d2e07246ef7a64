/* Classifies one N-MNIST recording with a compiled model: no malloc in the model, one static arena.
 *
 *   embed_c recording.bin
 */
#include <stdio.h>

#include "nmnist.h"

#define MOST_EVENTS 100000

HQC_ALIGNED static uint8_t arena[NMNIST_ARENA_BYTES];
static hqc_event events[MOST_EVENTS];

/* Five bytes an event: x, y, then polarity (top bit) and time in microseconds (23 bits). */
static size_t read_events(FILE *file)
{
    unsigned char b[5];
    uint32_t overflows = 0;
    size_t count = 0;
    while (count < MOST_EVENTS && fread(b, sizeof b, 1, file) == 1) {
        hqc_event *const e = &events[count];
        if (b[1] == 240) { /* the timer began anew */
            overflows++;
            continue;
        }
        e->x = b[0];
        e->y = b[1];
        e->polarity = b[2] >> 7;
        e->time = ((uint32_t)(b[2] & 127) << 16 | (uint32_t)b[3] << 8 | b[4]) + (overflows << 13);
        count++;
    }
    return count;
}

int main(int argc, char **argv)
{
    nmnist_t model;
    hqc_status status;
    int32_t label = 0;
    size_t count;
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;

    if (file == NULL || (count = read_events(file)) == 0) {
        fprintf(stderr, "usage: embed_c RECORDING.bin (N-MNIST events)\n");
        return 2;
    }
    fclose(file);

    status = nmnist_init(&model, arena, sizeof arena);
    if (status == HQC_OK) status = nmnist_run_events(&model, events, count, NULL);
    if (status == HQC_OK) status = nmnist_classify(&model, &label);
    if (status != HQC_OK) {
        fprintf(stderr, "nmnist: %s\n", hqc_status_text(status));
        return 1;
    }
    printf("%d\n", (int)label);
    return 0;
}
