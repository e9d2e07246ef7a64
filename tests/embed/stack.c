/* How much stack every entry of a model called net uses at most, by painting it: to standard output,
 * 32 bits. What is painted lies below main's own frame. */
#include <stdio.h>

#include "net.h"

#define PAINTED 32768
#define PAINT 0xC7

HQC_ALIGNED static uint8_t arena[NET_ARENA_BYTES + NET_STREAM_ARENA_BYTES];
static float frames[NET_INPUT_SIZE], logits[NET_OUTPUT_SIZE];
static int32_t integers[NET_OUTPUT_SIZE];
static net_t model;

/* All entries, called from a frame of its own; its address is where the calls begin. */
static void __attribute__((noinline)) use(void)
{
    int32_t t;
    net_init(&model, arena, sizeof arena);
    net_run(&model, frames, logits);
    net_run_bytes(&model, (const net_code *)frames, integers);
#ifdef NET_TAKES_IMAGES
    net_run_image(&model, frames, logits);
    net_run_image_bytes(&model, (const net_code *)frames, integers);
#endif
#ifdef NET_TAKES_EVENTS
    {
        static const hqc_event events[2] = {{0, 1, 1, 1}, {5, 2, 2, 0}};
        net_run_events(&model, events, 2, integers);
        net_reset(&model);
        net_step_events(&model, events, 2);
    }
#endif
    net_reset(&model);
    for (t = 0; t < NET_TIME_STEPS; t++) {
        if (t % 2) net_step(&model, frames);
        else net_step_bytes(&model, (const net_code *)frames);
        net_read(&model, logits);
    }
    net_read_integers(&model, integers);
    net_classify(&model, integers);
}

static volatile uint8_t *bottom;

static void __attribute__((noinline)) paint(void)
{
    volatile uint8_t below[PAINTED];
    int32_t i;
    for (i = 0; i < PAINTED; i++) below[i] = PAINT;
    __asm__ volatile("" : "=r"(bottom) : "0"(below)); /* it outlives the array, on purpose */
}

static int32_t __attribute__((noinline)) used(void)
{
    int32_t free_bytes = 0;
    while (free_bytes < PAINTED && bottom[free_bytes] == PAINT) free_bytes++;
    return PAINTED - free_bytes;
}

int main(void)
{
    int32_t found[2];
    paint();
    found[0] = used(); /* what painting, and looking, take of it */
    use();
    found[1] = used();
    fwrite(found, sizeof found, 1, stdout);
    return 0;
}
