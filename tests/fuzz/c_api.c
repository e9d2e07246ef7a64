/* Any calls of the entries of a model called net, in any order, with whatever a caller may get wrong:
 * each must answer with the status that its state calls for, and touch nothing but its arena.
 *
 * LLVMFuzzerTestOneInput reads calls off bytes, so that libFuzzer can drive it (-DLIBFUZZER); without,
 * main draws the bytes: c_api COUNT SEED. Memory that cannot be touched lies on both sides of the
 * arena. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "net.h"

#define PAGE 4096u
#define LARGEST (NET_ARENA_BYTES > NET_STREAM_ARENA_BYTES ? NET_ARENA_BYTES : NET_STREAM_ARENA_BYTES)
#define MEMORY ((LARGEST + PAGE - 1) / PAGE * PAGE)
#define MOST_EVENTS 64
#define CALLS 24

extern const uint32_t net_weights[];
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *memory; /* MEMORY bytes between pages that cannot be touched */
static const uint8_t *at, *end;

static uint32_t next(uint32_t below)
{
    uint32_t value = 0;
    int i;
    for (i = 0; i < 4 && at < end; i++) value = value << 8 | *at++;
    return value % below;
}

static void fail(const char *what, hqc_status wanted, hqc_status given)
{
    fprintf(stderr, "%s: wanted status %d, given %d\n", what, (int)wanted, (int)given);
    abort();
}

static void prepare(void)
{
    uint8_t *all = mmap(NULL, MEMORY + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) abort();
    memory = all + PAGE;
    if (mprotect(memory, MEMORY, PROT_READ | PROT_WRITE)) abort();
}

/* What the model should be like. */
typedef struct {
    int ready, streams;
    int32_t step; /* -1 when not streaming */
    int has_logits;
} state;

static void begin(net_t *model, state *is)
{
    static const size_t lacks[] = {0, 1, 64, NET_ARENA_BYTES, SIZE_MAX};
    static const size_t aside[] = {0, 1, 4, 32};
    const size_t wanted = next(2) ? LARGEST : NET_ARENA_BYTES;
    const uint32_t lack = next(16), beside = next(16), kind = next(32);
    const size_t given = lack < 5 && kind > 3 ? (lack == 4 ? 3 : wanted - (lack == 3 ? wanted : lacks[lack])) : wanted;
    const size_t off = beside < 4 ? aside[beside] : 0;
    /* the arena ends where memory does, or begins there */
    uint8_t *const arena = off ? memory + off : next(2) ? memory : memory + MEMORY - wanted;
    const int corrupt = kind == 2, unchecked = next(2) == 1;
    hqc_status status, expected = HQC_OK;
    if (off && given + off > MEMORY) return;
    if (kind == 0) {
        status = unchecked ? net_init_unchecked(NULL, arena, given) : net_init(NULL, arena, given);
        if (status != HQC_ERROR_NULL) fail("init of NULL", HQC_ERROR_NULL, status);
        return;
    }
    if (corrupt) {
        uint32_t *const word = (uint32_t *)(uintptr_t)(net_weights + next(NET_WEIGHT_BYTES / 4));
        uint8_t *const its = (uint8_t *)((uintptr_t)word & ~(uintptr_t)(PAGE - 1));
        const uint32_t bit = 1u << next(32);
        if (mprotect(its, PAGE, PROT_READ | PROT_WRITE)) abort();
        *(volatile uint32_t *)word ^= bit;
        status = net_init(model, arena, given);
        *(volatile uint32_t *)word ^= bit;
        if (mprotect(its, PAGE, PROT_READ)) abort();
        expected = HQC_ERROR_WEIGHTS;
    } else if (kind == 1) {
        status = unchecked ? net_init_unchecked(model, NULL, given) : net_init(model, NULL, given);
    } else {
        status = unchecked ? net_init_unchecked(model, arena, given) : net_init(model, arena, given);
    }
    if (off) expected = HQC_ERROR_ARENA_ALIGNMENT;
    if (given < NET_ARENA_BYTES) expected = HQC_ERROR_ARENA_SIZE;
    if (kind == 1) expected = HQC_ERROR_NULL;
    if (status != expected) fail("init", expected, status);
    is->ready = status == HQC_OK;
    is->streams = given >= NET_STREAM_ARENA_BYTES;
    is->step = -1;
    is->has_logits = 0;
}

static void expect(const char *what, hqc_status wanted, hqc_status given)
{
    if (wanted != given) fail(what, wanted, given);
}

/* Whether codes lie within the range that the header gives. */
static int in_range(const float *frames, size_t size)
{
    const net_code *const codes = (const net_code *)frames;
    size_t i;
    for (i = 0; i < size; i++) {
        const int code = codes[i];
        if (code < NET_INPUT_MIN || code > NET_INPUT_MAX) return 0;
    }
    return 1;
}

static hqc_status of_step(const state *is)
{
    if (!is->ready || is->step < 0) return HQC_ERROR_NOT_READY;
    return is->step >= NET_TIME_STEPS ? HQC_ERROR_TIME_STEPS : HQC_OK;
}

static void step(state *is, const char *what, int null, hqc_status given)
{
    const hqc_status wanted = null ? HQC_ERROR_NULL : of_step(is);
    expect(what, wanted, given);
    if (wanted == HQC_OK) {
        is->step++;
        is->has_logits = 0;
    }
}

static void run(state *is, const char *what, int null, hqc_status given)
{
    expect(what, null ? HQC_ERROR_NULL : is->ready ? HQC_OK : HQC_ERROR_NOT_READY, given);
    if (given == HQC_OK) {
        is->step = -1;
        is->has_logits = 1;
    }
}

static void read_out(state *is, const char *what, int null, hqc_status given)
{
    expect(what, null ? HQC_ERROR_NULL : is->ready && is->step > 0 ? HQC_OK : HQC_ERROR_NOT_READY, given);
    if (given == HQC_OK) is->has_logits = 1;
}

#ifdef NET_EVENTS
static void with_events(net_t *given, state *is, int whole)
{
    const uint32_t count = next(MOST_EVENTS), wrong = next(4), null = next(16) == 0;
    hqc_event *const events = malloc(count * sizeof *events + 1);
    uint32_t i, first = UINT32_MAX, last = 0;
    hqc_status expected = HQC_OK, status;
    for (i = 0; i < count; i++) {
        events[i].time = next(UINT32_MAX);
        events[i].x = (uint16_t)next(NET_WIDTH + (wrong == 0 && next(20) == 0));
        events[i].y = (uint16_t)next(NET_HEIGHT + (wrong == 0 && next(20) == 0));
        events[i].polarity = (uint8_t)next(2 + (wrong == 0 && next(20) == 0));
        if (wrong == 1 && i < 2) events[i].time = i ? UINT32_MAX : 0;
        if (events[i].x >= NET_WIDTH || events[i].y >= NET_HEIGHT || events[i].polarity > 1)
            expected = HQC_ERROR_EVENT;
        if (events[i].time < first) first = events[i].time;
        if (events[i].time > last) last = events[i].time;
    }
    if (whole && NET_TIME_STEPS > 1 && count && last - first == UINT32_MAX) expected = HQC_ERROR_EVENT;
    if (!whole && of_step(is) != HQC_OK) expected = of_step(is);
    if (whole && !is->ready) expected = HQC_ERROR_NOT_READY;
    if (given == NULL || (null && count)) expected = HQC_ERROR_NULL;
    status = whole ? net_run_events(given, null ? NULL : events, count, NULL)
                   : net_step_events(given, null ? NULL : events, count);
    expect(whole ? "run_events" : "step_events", expected, status);
    if (whole && (status == HQC_OK || status == HQC_ERROR_EVENT)) {
        is->step = -1;
        is->has_logits = status == HQC_OK;
    } else if (status == HQC_OK) {
        is->step++;
        is->has_logits = 0;
    }
    free(events);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float first[NET_OUTPUT_SIZE];
    static int is_known;
    float *const frames = malloc(NET_INPUT_SIZE * sizeof *frames);
    float *const logits = malloc(NET_OUTPUT_SIZE * sizeof *logits);
    int32_t *const integers = malloc(NET_OUTPUT_SIZE * sizeof *integers);
    int32_t *const label = malloc(sizeof *label);
    state is = {0, 0, -1, 0};
    net_t model;
    int call;
    if (!memory) prepare();
    at = data;
    end = data + size;
    memset(&model, (int)next(256), sizeof model); /* as memory may be before init */
    for (call = 0; call < CALLS && at < end; call++) {
        const uint32_t what = next(16);
        net_t *const given = next(24) ? &model : NULL;
        const int null = next(24) == 0, no = given == NULL;
        uint32_t i;
        for (i = 0; i < 4; i++) { /* bits of any float; the rest is what was there, or 0 */
            const uint32_t bits = next(UINT32_MAX), place = next(NET_INPUT_SIZE);
            if (i == 0) memset(frames, (int)(bits & 255), NET_INPUT_SIZE * sizeof *frames);
            memcpy(frames + place, &bits, sizeof bits);
        }
        switch (what) {
        case 0: case 1: begin(&model, &is); break;
        case 2: run(&is, "run", no || null, net_run(given, null ? NULL : frames, next(2) ? logits : NULL)); break;
        case 3: case 8: case 9: {
            const net_code *const codes = null ? NULL : (const net_code *)frames;
            const int is_run = what == 3;
            const size_t read = is_run ? NET_INPUT_SIZE : NET_STEP_INPUT_SIZE;
            const hqc_status ready = is_run ? is.ready ? HQC_OK : HQC_ERROR_NOT_READY : of_step(&is);
            const hqc_status status = is_run ? net_run_bytes(given, codes, next(2) ? integers : NULL)
                                             : net_step_bytes(given, codes);
            if (!no && !null && ready == HQC_OK && !in_range(frames, read))
                expect("codes", HQC_ERROR_CODE, status);
            else if (is_run) run(&is, "run_bytes", no || null, status);
            else step(&is, "step_bytes", no || null, status);
            break;
        }
        case 4: case 5:
            expect("reset", no ? HQC_ERROR_NULL : !is.ready ? HQC_ERROR_NOT_READY
                            : is.streams ? HQC_OK : HQC_ERROR_ARENA_SIZE, net_reset(given));
            if (!no && is.ready && is.streams) {
                is.step = 0;
                is.has_logits = 0;
            }
            break;
        case 6: case 7: step(&is, "step", no || null, net_step(given, null ? NULL : frames)); break;
        case 10: read_out(&is, "read", no, net_read(given, null ? NULL : logits)); break;
        case 11: read_out(&is, "read_integers", no, net_read_integers(given, null ? NULL : integers)); break;
        case 12: {
            const hqc_status status = net_classify(given, null ? NULL : label);
            expect("classify", no || null ? HQC_ERROR_NULL : is.ready && is.has_logits ? HQC_OK
                               : HQC_ERROR_NOT_READY, status);
            if (status == HQC_OK && (*label < 0 || *label >= NET_CLASSES)) fail("class", 0, *label);
            break;
        }
#ifdef NET_EVENTS
        case 13: with_events(given, &is, 1); break;
        case 14: with_events(given, &is, 0); break;
#endif
#ifdef NET_TAKES_IMAGES
        case 13:
            run(&is, "run_image", no || null, net_run_image(given, null ? NULL : frames, next(2) ? logits : NULL));
            break;
        case 14: {
            const hqc_status status = net_run_image_bytes(
                given, null ? NULL : (const net_code *)frames, next(2) ? integers : NULL);
            if (!no && !null && is.ready && !in_range(frames, NET_STEP_INPUT_SIZE))
                expect("codes of an image", HQC_ERROR_CODE, status);
            else run(&is, "run_image_bytes", no || null, status);
            break;
        }
#endif
        default: hqc_status_text((hqc_status)next(UINT32_MAX))[0] ? (void)0 : abort();
        }
    }
    /* whatever came before, a model gives what it gave at first */
    memset(frames, 0, NET_INPUT_SIZE * sizeof *frames);
    for (call = 0; call < NET_INPUT_SIZE; call += 3) frames[call] = (float)(call % 7);
    if (is.ready || net_init(&model, memory, MEMORY) == HQC_OK) net_run(&model, frames, logits);
    if (!is_known) memcpy(first, logits, sizeof first);
    is_known = 1;
    if (memcmp(first, logits, sizeof first)) fail("logits", 0, 1);
    free(frames);
    free(logits);
    free(integers);
    free(label);
    return 0;
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
    const unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    uint64_t random = argc > 2 ? strtoul(argv[2], NULL, 10) * 2654435769u + 1 : 1;
    static uint8_t data[4096];
    unsigned long i;
    for (i = 0; i < count; i++) {
        size_t j, size;
        for (j = 0; j < sizeof data; j++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            data[j] = (uint8_t)(random >> 32);
        }
        size = sizeof data - (size_t)(random % 2048);
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%lu\n", count);
    return 0;
}
#endif
