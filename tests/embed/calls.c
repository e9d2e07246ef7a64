/* Calls entries of a model called net, as standard input says: a letter a call, and what it takes.
 * Answers each call with its status, 32 bits, and NET_OUTPUT_SIZE numbers of 32 bits.
 *
 * What callers give lies no better than its type must; what callers get lies between guards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

#define GUARD 64
#define GUARD_BYTE 0xA5
#define ARENA (NET_ARENA_BYTES > NET_STREAM_ARENA_BYTES ? NET_ARENA_BYTES : NET_STREAM_ARENA_BYTES)
#define UNTOUCHED 0x5A5A5A5A
#ifndef EVENTS
#define EVENTS 1
#endif

#ifdef UNWRITTEN
static uint8_t *memory; /* as malloc gives it, so that a checker knows what was written */
#else
HQC_ALIGNED static uint8_t memory[GUARD + ARENA + GUARD];
#endif
HQC_ALIGNED static float floats[1 + NET_INPUT_SIZE];
static int32_t answer[1 + 1 + NET_OUTPUT_SIZE + 1];
#ifdef NET_INPUT_SCALE
HQC_ALIGNED static net_code codes[1 + NET_INPUT_SIZE];
#endif
#if EVENTS > 1
static hqc_event events[EVENTS];
#endif

static int guards_hold(void)
{
    size_t i;
    for (i = 0; i < GUARD; i++)
        if (memory[i] != GUARD_BYTE || memory[GUARD + ARENA + i] != GUARD_BYTE) return 0;
    return answer[1] == UNTOUCHED && answer[2 + NET_OUTPUT_SIZE] == UNTOUCHED;
}

static int take(void *data, size_t size) { return fread(data, size, 1, stdin) == 1; }

static hqc_status call(net_t *model, char letter)
{
    int32_t *const integers = answer + 2;
    float logits[NET_OUTPUT_SIZE];
    hqc_status status;
    switch (letter) {
    case 'i': return net_init(model, memory + GUARD, ARENA);
    case 'u': return net_init_unchecked(model, memory + GUARD, ARENA);
    case 'r': return net_reset(model);
    case 'n': return net_read_integers(model, integers);
    case 'c': return net_classify(model, integers);
    case 'N': return net_read_integers(model, NULL);
    case 'R':
    case 'g':
        if (letter == 'R' && !take(floats + 1, NET_INPUT_SIZE * sizeof *floats)) return -1;
        memcpy(logits, integers, sizeof logits);
        status = letter == 'R' ? net_run(model, floats + 1, logits) : net_read(model, logits);
        memcpy(integers, logits, sizeof logits);
        return status;
    case 's':
        if (!take(floats + 1, NET_STEP_INPUT_SIZE * sizeof *floats)) return -1;
        return net_step(model, floats + 1);
#ifdef NET_INPUT_SCALE
    case 'B':
        if (!take(codes + 1, NET_INPUT_SIZE)) return -1;
        return net_run_bytes(model, codes + 1, integers);
    case 'b':
        if (!take(codes + 1, NET_STEP_INPUT_SIZE)) return -1;
        return net_step_bytes(model, codes + 1);
#endif
#ifdef NET_TAKES_IMAGES
    case 'W':
        if (!take(floats + 1, NET_STEP_INPUT_SIZE * sizeof *floats)) return -1;
        memcpy(logits, integers, sizeof logits);
        status = net_run_image(model, floats + 1, logits);
        memcpy(integers, logits, sizeof logits);
        return status;
    case 'w':
        if (!take(codes + 1, NET_STEP_INPUT_SIZE)) return -1;
        return net_run_image_bytes(model, codes + 1, integers);
#endif
#if EVENTS > 1
    case 'E':
    case 'e': {
        uint32_t count, i;
        if (!take(&count, sizeof count) || count > EVENTS) return -1;
        for (i = 0; i < count; i++) {
            uint32_t fields[4];
            if (!take(fields, sizeof fields)) return -1;
            events[i].time = fields[0];
            events[i].x = (uint16_t)fields[1];
            events[i].y = (uint16_t)fields[2];
            events[i].polarity = (uint8_t)fields[3];
        }
        if (letter == 'E') return net_run_events(model, count ? events : NULL, count, integers);
        return net_step_events(model, count ? events : NULL, count);
    }
#endif
    default: return -1;
    }
}

int main(void)
{
    net_t model;
    char letter;
    memset(&model, GUARD_BYTE, sizeof model);
#ifdef UNWRITTEN
    memory = aligned_alloc(HQC_ALIGNMENT, GUARD + ARENA + GUARD);
    memset(memory, GUARD_BYTE, GUARD);
    memset(memory + GUARD + ARENA, GUARD_BYTE, GUARD);
#else
    memset(memory, GUARD_BYTE, sizeof memory);
#endif
    while (take(&letter, 1)) {
        memset(answer, UNTOUCHED & 255, sizeof answer);
        answer[0] = call(&model, letter);
        if (!guards_hold()) answer[0] = -2;
        fwrite(answer, sizeof *answer, 1, stdout);
        fwrite(answer + 2, sizeof *answer, NET_OUTPUT_SIZE, stdout);
    }
    return 0;
}
