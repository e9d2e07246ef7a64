/* Classifies what an event camera sees, window by window, while it sees it.
 *
 *   dvs_stream [--window MICROSECONDS] [--real-time] [EVENTS]
 *
 * EVENTS is a file of five bytes an event, as in N-MNIST; without it they come from standard input.
 * A window is one time step of the model, and after NMNIST_TIME_STEPS windows the model begins anew.
 * --real-time reads a file no faster than the camera gave it. */
#define _POSIX_C_SOURCE 200112L

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nmnist.h"

#define MOST_EVENTS 65536u /* in a window */

HQC_ALIGNED static uint8_t arena[NMNIST_STREAM_ARENA_BYTES];
static hqc_event events[MOST_EVENTS];
static nmnist_t model;

static int fail(const char *what)
{
    fprintf(stderr, "dvs_stream: %s\n", what);
    return 1;
}

/* One event and its time in microseconds, which a live stream carries past 32 bits: x, y, then
 * polarity (top bit) and time (23 bits). 1, or 0 at the end, or -1 where an event is cut short. */
static int read_event(FILE *file, uint64_t *overflows, uint64_t *time, hqc_event *event)
{
    unsigned char b[5];
    do {
        const size_t got = fread(b, 1, sizeof b, file);
        if (got < sizeof b) return got == 0 && !ferror(file) ? 0 : -1;
        if (b[1] == 240) *overflows += 1; /* the timer began anew */
    } while (b[1] == 240);
    event->x = b[0];
    event->y = b[1];
    event->polarity = b[2] >> 7;
    *time = ((uint64_t)(b[2] & 127) << 16 | (uint64_t)b[3] << 8 | b[4]) + (*overflows << 13);
    return 1;
}

/* By how much the best class is ahead of the second, in the unit of the model's logits. */
static double margin(const int32_t *logits, int32_t label)
{
    int32_t i, second = label == 0 ? 1 : 0;
    for (i = 0; i < NMNIST_CLASSES; i++)
        if (i != label && logits[i] > logits[second]) second = i;
    return ((double)logits[label] - (double)logits[second]) * NMNIST_LOGIT_SCALE;
}

/* Gives a window to the model and prints what it says by now. */
static hqc_status end_window(size_t count)
{
    static long recording = 1;
    static int window = 0;
    int32_t logits[NMNIST_OUTPUT_SIZE], label = 0;
    hqc_status status = window == 0 ? nmnist_reset(&model) : HQC_OK;
    if (status == HQC_OK) status = nmnist_step_events(&model, events, count);
    if (status == HQC_OK) status = nmnist_read_integers(&model, logits);
    if (status == HQC_OK) status = nmnist_classify(&model, &label);
    if (status != HQC_OK) return status;
    window++;
    printf("recording %ld window %d events %lu class %d margin %.6f\n", recording, window,
           (unsigned long)count, (int)label, margin(logits, label));
    if (window == NMNIST_TIME_STEPS) {
        window = 0;
        recording++;
    }
    return HQC_OK;
}

/* Until so many microseconds after the first call, which does not wait. */
static void wait_for(uint64_t microseconds)
{
    static struct timespec start;
    struct timespec until;
    if (start.tv_sec == 0 && start.tv_nsec == 0) clock_gettime(CLOCK_MONOTONIC, &start);
    until.tv_sec = start.tv_sec + (time_t)(microseconds / 1000000);
    until.tv_nsec = start.tv_nsec + (long)(microseconds % 1000000) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

static int stream(FILE *file, uint64_t window, int real_time)
{
    uint64_t overflows = 0, time = 0, first = 0, begin = 0;
    hqc_status status = HQC_OK;
    size_t count = 0;
    int begun = 0, got;
    hqc_event event;

    while ((got = read_event(file, &overflows, &time, &event)) > 0) {
        if (!begun) {
            begun = 1;
            first = begin = time;
            if (real_time) wait_for(0);
        }
        for (; time >= begin + window; begin += window) { /* a window without events counts, too */
            if (real_time) wait_for(begin + window - first);
            if ((status = end_window(count)) != HQC_OK) return fail(hqc_status_text(status));
            count = 0;
        }
        if (count == MOST_EVENTS) return fail("too many events in a window: take a shorter one");
        event.time = time > begin ? (uint32_t)(time - begin) : 0;
        events[count++] = event;
    }
    if (got < 0) return fail("the last event is cut short");
    if (!begun) return fail("there are no events");
    if ((status = end_window(count)) != HQC_OK) return fail(hqc_status_text(status));
    return 0;
}

static int usage(void)
{
    fail("usage: dvs_stream [--window MICROSECONDS] [--real-time] [EVENTS]");
    return 2;
}

int main(int argc, char **argv)
{
    unsigned long window = 40000; /* N-MNIST's recordings last 0.3 s, the model has 8 time steps */
    int i, real_time = 0, result;
    hqc_status status;
    FILE *file;

    for (i = 1; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--real-time") == 0) {
            real_time = 1;
        } else if (strcmp(argv[i], "--window") == 0 && i + 1 < argc) {
            char *end;
            window = strtoul(argv[++i], &end, 10);
            if (*end != '\0' || argv[i][0] == '-' || window == 0 || window > 1000000000)
                return usage();
        } else {
            return usage();
        }
    }
    if (argc - i > 1) return usage();
    file = i < argc ? fopen(argv[i], "rb") : stdin;
    if (file == NULL) return fail("cannot open the file of events");
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* whoever reads it sees each window when it ends */

    status = nmnist_init(&model, arena, sizeof arena);
    if (status != HQC_OK) return fail(hqc_status_text(status));
    result = stream(file, window, real_time);
    if (file != stdin) fclose(file);
    return result;
}
