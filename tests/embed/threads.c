/* Two models at once in two threads, each whole and step by step: every logit is the one that the
 * model gives by itself. The argument is how many inferences a thread makes. */
#define _POSIX_C_SOURCE 200112L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "other.h"

#define INPUTS 8

/* What one thread has of one model; what its frames give by themselves. */
#define USER(name, NAME)                                                                            \
    typedef struct {                                                                                \
        uint8_t memory[NAME##_ARENA_BYTES + NAME##_STREAM_ARENA_BYTES + HQC_ALIGNMENT];             \
        name##_t model;                                                                             \
    } name##_user;                                                                                  \
    static float name##_frames[INPUTS][NAME##_INPUT_SIZE];                                          \
    static float name##_expected[INPUTS][NAME##_OUTPUT_SIZE];                                       \
    static int name##_begin(name##_user *user)                                                      \
    {                                                                                               \
        const size_t lies = (uintptr_t)user->memory % HQC_ALIGNMENT;                                \
        return name##_init(&user->model, user->memory + (HQC_ALIGNMENT - lies) % HQC_ALIGNMENT,     \
                           NAME##_ARENA_BYTES + NAME##_STREAM_ARENA_BYTES) == HQC_OK;               \
    }                                                                                               \
    static int name##_is_right(name##_user *user, unsigned draw)                                    \
    {                                                                                               \
        const unsigned input = draw % INPUTS;                                                       \
        float logits[NAME##_OUTPUT_SIZE];                                                           \
        int32_t t;                                                                                  \
        if (draw / INPUTS % 2) {                                                                    \
            name##_run(&user->model, name##_frames[input], logits);                                 \
        } else {                                                                                    \
            name##_reset(&user->model);                                                             \
            for (t = 0; t < NAME##_TIME_STEPS; t++)                                                 \
                name##_step(&user->model, name##_frames[input] + t * NAME##_STEP_INPUT_SIZE);       \
            name##_read(&user->model, logits);                                                      \
        }                                                                                           \
        return memcmp(logits, name##_expected[input], sizeof logits) == 0;                          \
    }                                                                                               \
    static void name##_prepare(void)                                                                \
    {                                                                                               \
        static name##_user user;                                                                    \
        int i, j;                                                                                   \
        name##_begin(&user);                                                                        \
        for (i = 0; i < INPUTS; i++) {                                                              \
            for (j = 0; j < NAME##_INPUT_SIZE; j++) name##_frames[i][j] = (float)(rand() % 200);    \
            name##_run(&user.model, name##_frames[i], name##_expected[i]);                          \
        }                                                                                           \
    }

USER(net, NET)
USER(other, OTHER)

static net_user first[2], second[2];
static other_user third[2];
static unsigned inferences;
static unsigned wrong[2];

static void *work(void *given)
{
    const int me = *(int *)given;
    unsigned i, state = (unsigned)me + 1;
    if (!net_begin(&first[me]) || !net_begin(&second[me]) || !other_begin(&third[me])) {
        wrong[me] = 1;
        return NULL;
    }
    for (i = 0; i < inferences; i++) {
        state = state * 1664525u + 1013904223u;
        switch (state >> 8 & 3) {
        case 0: wrong[me] += !net_is_right(&first[me], state >> 16); break;
        case 1: wrong[me] += !net_is_right(&second[me], state >> 16); break;
        default: wrong[me] += !other_is_right(&third[me], state >> 16); break;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static int names[] = {0, 1};
    pthread_t threads[2];
    int i;
    inferences = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    net_prepare();
    other_prepare();
    for (i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work, &names[i]);
    for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    printf("%u wrong of %u\n", wrong[0] + wrong[1], 2 * inferences);
    return 0;
}
