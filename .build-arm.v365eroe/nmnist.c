/* nmnist: compiled by hqc 0.1.0 for arm-a72. The kernels are in nmnist_kernels.o. */
#include "nmnist.h"

#define WEIGHTS_SIZE 85864u
#define WEIGHTS_HASH 1817975147u

extern const uint8_t nmnist_weights[WEIGHTS_SIZE];

/* QuantizeFrames */
void nmnist_kernel_0(const float *, uint8_t *, const float *, int32_t, int32_t);
/* DenseConv */
void nmnist_kernel_1(const uint8_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* PackedPool */
void nmnist_kernel_2(const uint32_t *, uint32_t *, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_3(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* PackedPool */
void nmnist_kernel_4(const uint32_t *, uint32_t *, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_5(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_6(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_7(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* AddPlanes */
void nmnist_kernel_8(const uint32_t *, const uint32_t *, uint32_t *, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_9(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_10(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_11(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* PackedAttention */
void nmnist_kernel_12(const uint32_t *, const uint32_t *, const uint32_t *, uint32_t *, const int32_t *, int32_t *, int32_t *, int32_t *, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_13(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* AddPlanes */
void nmnist_kernel_14(const uint32_t *, const uint32_t *, uint32_t *, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_15(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* SpikeConv */
void nmnist_kernel_16(const uint32_t *, uint32_t *, const uint8_t *, const int8_t *, const int32_t *, int8_t *, uint16_t *, int32_t *, int32_t, int32_t, int32_t);
/* AddPlanes */
void nmnist_kernel_17(const uint32_t *, const uint32_t *, uint32_t *, int32_t, int32_t);
/* SumSpikes */
void nmnist_kernel_18(const uint32_t *, int32_t *, int32_t, int32_t);
/* IntegerLinear */
void nmnist_kernel_19(const int32_t *, float *, const uint8_t *, const int8_t *, const int32_t *, const float *, int8_t *, int32_t, int32_t);

/* Offsets into the arena, by area; one table for whole runs, one for single steps. */
static const uint32_t run_areas[] = {36992, 0, 55488, 0, 56064, 36992, 0, 9280, 12736, 12992, 13824, 41472, 0, 16448, 16896, 82944, 0, 46656, 47552, 90752, 0, 98560, 100288, 31104, 58944, 0, 9216, 9600, 66752, 0, 9216, 9600, 74560, 0, 9216, 9600, 82368, 46656, 90176, 0, 9216, 0, 17408, 17024, 67968, 36864, 0, 85056, 83520, 83520, 0, 91328, 92096, 0, 23360, 0};
static const uint32_t step_areas[] = {277056, 272384, 279424, 0, 0, 277056, 275840, 272384, 278272, 355328, 286656, 314752, 272384, 286208, 641152, 663616, 272384, 313856, 392320, 664640, 272384, 661888, 423424, 284672, 286656, 272384, 281600, 454528, 287680, 272384, 281600, 485632, 288704, 272384, 281600, 516736, 289728, 272384, 290752, 547840, 281600, 272384, 282624, 578944, 313152, 309248, 272384, 315136, 147968, 315136, 272384, 316160, 610048, 272384, 665664, 272384};

#define AREA(i) ((void *)(arena + area[i]))
#define DATA(offset) ((const void *)(nmnist_weights + (offset)))

#ifdef HQC_TRACE
/* Told before each kernel, and after the last. */
void nmnist_trace(int32_t kernel);
#define TRACE(kernel) nmnist_trace(kernel)
#else
#define TRACE(kernel) ((void)0)
#endif

static void forward(uint8_t *arena, const uint32_t *area, const float *frames, int32_t t_begin,
                    int32_t steps, int32_t streams)
{
    TRACE(0); /* quant_input/QuantUniform */
    nmnist_kernel_0(frames, AREA(0), DATA(0), t_begin, steps);
    TRACE(1); /* tokenizer.0.lif */
    nmnist_kernel_1(AREA(0), AREA(1), DATA(64), DATA(320), DATA(384), AREA(2), AREA(3), AREA(4), streams * 32, t_begin, steps);
    TRACE(2); /* tokenizer.0.pool/MaxPool */
    nmnist_kernel_2(AREA(1), AREA(5), t_begin, steps);
    TRACE(3); /* tokenizer.1.lif */
    nmnist_kernel_3(AREA(5), AREA(6), DATA(768), DATA(2112), DATA(2176), AREA(7), AREA(8), AREA(9), streams * 32, t_begin, steps);
    TRACE(4); /* tokenizer.1.pool/MaxPool */
    nmnist_kernel_4(AREA(6), AREA(10), t_begin, steps);
    TRACE(5); /* tokenizer.2.lif */
    nmnist_kernel_5(AREA(10), AREA(11), DATA(2560), DATA(7744), DATA(7808), AREA(12), AREA(13), AREA(14), streams * 64, t_begin, steps);
    TRACE(6); /* tokenizer.3.lif */
    nmnist_kernel_6(AREA(11), AREA(15), DATA(8576), DATA(18944), DATA(19072), AREA(16), AREA(17), AREA(18), streams * 96, t_begin, steps);
    TRACE(7); /* position.lif */
    nmnist_kernel_7(AREA(15), AREA(19), DATA(20224), DATA(40960), DATA(41088), AREA(20), AREA(21), AREA(22), streams * 96, t_begin, steps);
    TRACE(8); /* Add/Add */
    nmnist_kernel_8(AREA(15), AREA(19), AREA(23), t_begin, steps);
    TRACE(9); /* blocks.0.attention.q.lif */
    nmnist_kernel_9(AREA(23), AREA(24), DATA(42240), DATA(44544), DATA(44672), AREA(25), AREA(26), AREA(27), streams * 96, t_begin, steps);
    TRACE(10); /* blocks.0.attention.k.lif */
    nmnist_kernel_10(AREA(23), AREA(28), DATA(45824), DATA(48128), DATA(48256), AREA(29), AREA(30), AREA(31), streams * 96, t_begin, steps);
    TRACE(11); /* blocks.0.attention.v.lif */
    nmnist_kernel_11(AREA(23), AREA(32), DATA(49408), DATA(54016), DATA(54144), AREA(33), AREA(34), AREA(35), streams * 96, t_begin, steps);
    TRACE(12); /* blocks.0.attention.lif */
    nmnist_kernel_12(AREA(24), AREA(28), AREA(32), AREA(36), DATA(55296), AREA(37), AREA(38), AREA(39), t_begin, steps);
    TRACE(13); /* blocks.0.attention.proj.lif */
    nmnist_kernel_13(AREA(36), AREA(40), DATA(56448), DATA(58752), DATA(58880), AREA(41), AREA(42), AREA(43), streams * 96, t_begin, steps);
    TRACE(14); /* blocks.0/Add */
    nmnist_kernel_14(AREA(23), AREA(40), AREA(44), t_begin, steps);
    TRACE(15); /* blocks.0.mlp.0.lif */
    nmnist_kernel_15(AREA(44), AREA(45), DATA(60032), DATA(69248), DATA(69632), AREA(46), AREA(47), AREA(48), streams * 384, t_begin, steps);
    TRACE(16); /* blocks.0.mlp.1.lif */
    nmnist_kernel_16(AREA(45), AREA(49), DATA(74240), DATA(83456), DATA(83584), AREA(50), AREA(51), AREA(52), streams * 96, t_begin, steps);
    TRACE(17); /* blocks.0/Add_2 */
    nmnist_kernel_17(AREA(44), AREA(49), AREA(53), t_begin, steps);
    TRACE(18); /* head/SumSpikes */
    nmnist_kernel_18(AREA(53), AREA(54), t_begin, steps);
}

static void readout(uint8_t *arena, const uint32_t *area, float *logits)
{
    const int32_t t_begin = 0, steps = 1;
    TRACE(19); /* head */
    nmnist_kernel_19(AREA(54), logits, DATA(84736), DATA(85696), DATA(85760), DATA(85824), AREA(55), t_begin, steps);
    TRACE(20);
}

hqc_status nmnist_init(nmnist_t *model, void *arena, size_t arena_size)
{
    uint32_t hash = 2166136261u;
    size_t i;
    if (model == NULL || arena == NULL) return HQC_ERROR_NULL;
    model->arena = NULL;
    if (arena_size < NMNIST_ARENA_BYTES) return HQC_ERROR_ARENA_SIZE;
    if ((uintptr_t)arena % HQC_ALIGNMENT != 0) return HQC_ERROR_ARENA_ALIGNMENT;
    for (i = 0; i < WEIGHTS_SIZE; i++) hash = (hash ^ nmnist_weights[i]) * 16777619u;
    if (hash != WEIGHTS_HASH) return HQC_ERROR_WEIGHTS;
    model->arena = (uint8_t *)arena;
    model->arena_size = arena_size;
    model->time_step = -1;
    return HQC_OK;
}

hqc_status nmnist_run(nmnist_t *model, const float *frames, float *logits)
{
    if (model == NULL || frames == NULL || logits == NULL) return HQC_ERROR_NULL;
    if (model->arena == NULL) return HQC_ERROR_NOT_READY;
    model->time_step = -1;
    forward(model->arena, run_areas, frames, 0, NMNIST_TIME_STEPS, 0);
    readout(model->arena, run_areas, logits);
    return HQC_OK;
}

hqc_status nmnist_reset(nmnist_t *model)
{
    if (model == NULL) return HQC_ERROR_NULL;
    if (model->arena == NULL) return HQC_ERROR_NOT_READY;
    if (model->arena_size < NMNIST_STREAM_ARENA_BYTES) return HQC_ERROR_ARENA_SIZE;
    model->time_step = 0;
    return HQC_OK;
}

hqc_status nmnist_step(nmnist_t *model, const float *frame)
{
    if (model == NULL || frame == NULL) return HQC_ERROR_NULL;
    if (model->arena == NULL || model->time_step < 0) return HQC_ERROR_NOT_READY;
    if (model->time_step == NMNIST_TIME_STEPS) return HQC_ERROR_TIME_STEPS;
    forward(model->arena, step_areas, frame, model->time_step, 1, 1);
    model->time_step++;
    return HQC_OK;
}

hqc_status nmnist_read(nmnist_t *model, float *logits)
{
    if (model == NULL || logits == NULL) return HQC_ERROR_NULL;
    if (model->arena == NULL || model->time_step < 1) return HQC_ERROR_NOT_READY;
    readout(model->arena, step_areas, logits);
    return HQC_OK;
}
