/* Classifies recordings of an event camera that come over USB serial, on a board with an RP2040.
 *
 * A recording is four bytes, the number of its events with the lowest byte first, and then five
 * bytes an event, as in N-MNIST. The answer is a line: the class and the time it took, or what is
 * wrong. send.py sends recordings. */
#include <stdio.h>

#include "nmnist.h"
#include "pico/stdlib.h"

#define MOST_EVENTS 8192u /* 96 KiB; N-MNIST's recordings have 6,000 or fewer, as a rule */
#define PATIENCE_US 2000000u

HQC_ALIGNED static uint8_t arena[NMNIST_ARENA_BYTES];
static hqc_event events[MOST_EVENTS];
static nmnist_t model;

static int receive(uint8_t *bytes, uint32_t count)
{
    uint32_t i;
    for (i = 0; i < count; i++) {
        const int byte = getchar_timeout_us(PATIENCE_US);
        if (byte < 0) return 0;
        bytes[i] = (uint8_t)byte;
    }
    return 1;
}

/* What is wrong with the recording that came, or NULL. x, y, then polarity (top bit) and time in
 * microseconds (23 bits). */
static const char *receive_events(uint32_t records, uint32_t *count)
{
    const char *wrong = NULL;
    uint32_t overflows = 0;
    uint8_t b[5];
    *count = 0;
    for (; records > 0; records--) {
        hqc_event *e;
        if (!receive(b, sizeof b)) return "the recording was cut short";
        if (b[1] == 240) { /* the timer began anew */
            overflows++;
            continue;
        }
        if (*count == MOST_EVENTS) {
            wrong = "the recording has too many events";
            continue;
        }
        e = &events[*count];
        e->x = b[0];
        e->y = b[1];
        e->polarity = b[2] >> 7;
        e->time = ((uint32_t)(b[2] & 127) << 16 | (uint32_t)b[3] << 8 | b[4]) + (overflows << 13);
        ++*count;
    }
    return *count == 0 ? "the recording has no events" : wrong;
}

static void answer(uint32_t records)
{
    uint32_t count, begin;
    int32_t label = 0;
    hqc_status status;
    const char *const wrong = receive_events(records, &count);
    if (wrong != NULL) {
        printf("error: %s\n", wrong);
        return;
    }
    begin = time_us_32();
    status = nmnist_run_events(&model, events, count, NULL);
    if (status == HQC_OK) status = nmnist_classify(&model, &label);
    if (status == HQC_OK)
        printf("%d in %u us\n", (int)label, (unsigned)(time_us_32() - begin));
    else
        printf("error: %s\n", hqc_status_text(status));
}

int main(void)
{
    hqc_status status;
    stdio_init_all();
    status = nmnist_init(&model, arena, sizeof arena);
    for (;;) {
        uint8_t b[4];
        if (!receive(b, sizeof b)) continue;
        if (status == HQC_OK)
            answer(b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24);
        else
            printf("error: %s\n", hqc_status_text(status));
    }
}
