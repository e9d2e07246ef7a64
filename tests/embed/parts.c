/* One inference shared among 1 to NET_THREADS threads, whole and step by step: every logit is the one
 * that a single thread gives. Floats of recordings come from standard input.
 *
 *   program WAY INFERENCES   WAY is how parts are called: last, the last first, by one thread;
 *                            created, by threads that are made for them; openmp; pool */
#define _POSIX_C_SOURCE 200112L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hqc_openmp.h"
#include "hqc_pthread.h"
#include "net.h"

HQC_ALIGNED static uint8_t arena[NET_ARENA_BYTES + NET_STREAM_ARENA_BYTES];
static float frames[NET_INPUT_SIZE], expected[NET_OUTPUT_SIZE];
static unsigned shared, wrong, inferences;

typedef struct {
    hqc_task task;
    void *argument;
    int32_t part, parts;
} one_part;

static void last_first(void *context, hqc_task task, void *argument, int32_t parts)
{
    int32_t part;
    (void)context;
    shared++;
    for (part = parts - 1; part >= 0; part--) task(argument, part, parts);
}

static void *do_part(void *given)
{
    const one_part *const one = (const one_part *)given;
    one->task(one->argument, one->part, one->parts);
    return NULL;
}

static void created(void *context, hqc_task task, void *argument, int32_t parts)
{
    one_part each[NET_THREADS];
    pthread_t threads[NET_THREADS];
    int32_t part;
    (void)context;
    shared++;
    for (part = 0; part < parts; part++) {
        each[part] = (one_part){task, argument, part, parts};
        if (pthread_create(&threads[part], NULL, do_part, &each[part]) != 0) abort();
    }
    for (part = 0; part < parts; part++) pthread_join(threads[part], NULL);
}

/* What is wrong of what a model says that nobody can mean. */
static unsigned taken_badly(net_t *model, hqc_parallel_for run)
{
    net_t other;
    memset(&other, 0, sizeof other);
    return (net_set_threads(NULL, 1, run, NULL) != HQC_ERROR_NULL) +
           (net_set_threads(&other, 1, run, NULL) != HQC_ERROR_NOT_READY) +
           (net_set_threads(model, 0, run, NULL) != HQC_ERROR_THREADS) +
           (net_set_threads(model, -1, run, NULL) != HQC_ERROR_THREADS) +
           (net_set_threads(model, NET_THREADS + 1, run, NULL) != HQC_ERROR_THREADS) +
           (net_set_threads(model, NET_THREADS, NULL, NULL) != HQC_OK);
}

/* Whether an inference in an arena of other bytes is right, by other threads in each time step. */
static int is_right(unsigned number, hqc_parallel_for run, void *context)
{
    const int32_t threads = 1 + (int32_t)(number / 2) % NET_THREADS;
    float logits[NET_OUTPUT_SIZE];
    net_t model;
    int32_t t;
    memset(arena, (int)number, sizeof arena);
    net_init_unchecked(&model, arena, sizeof arena);
    net_set_threads(&model, threads, run, context);
    if (number % 2) {
        net_run(&model, frames, logits);
    } else {
        net_reset(&model);
        for (t = 0; t < NET_TIME_STEPS; t++) {
            net_set_threads(&model, 1 + (threads + t) % NET_THREADS, run, context);
            net_step(&model, frames + t * NET_STEP_INPUT_SIZE);
        }
        net_read(&model, logits);
    }
    return memcmp(logits, expected, sizeof logits) == 0;
}

int main(int argc, char **argv)
{
    const char *const way = argc > 1 ? argv[1] : "";
    const unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
    static hqc_pool pool;
    hqc_parallel_for run = last_first;
    void *context = NULL;
    if (strcmp(way, "created") == 0) run = created;
    if (strcmp(way, "openmp") == 0) run = hqc_openmp_run;
    if (strcmp(way, "pool") == 0) {
        if (hqc_pool_start(&pool, 0) == 0 || hqc_pool_start(&pool, HQC_POOL_THREADS + 1) == 0) return 1;
        if (hqc_pool_start(&pool, NET_THREADS) != 0) return 1;
        run = hqc_pool_run;
        context = &pool;
    }
    while (fread(frames, sizeof frames, 1, stdin) == 1) {
        unsigned i;
        net_t model;
        net_init(&model, arena, sizeof arena);
        net_run(&model, frames, expected);
        wrong += taken_badly(&model, last_first);
        for (i = 0; i < count; i++, inferences++) wrong += !is_right(inferences, run, context);
    }
    if (run == hqc_pool_run) hqc_pool_stop(&pool);
    printf("%u wrong of %u, %s\n", wrong, inferences,
           shared || run == hqc_pool_run || run == hqc_openmp_run ? "shared" : "by one thread");
    return 0;
}
