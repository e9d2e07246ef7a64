/* A plugin of QEMU: what a program does between calls of one of its functions, the marker.
 *
 *   qemu-aarch64 -d plugin -plugin ./count_kernels.so,marker=NAME,output=FILE[,line=64,cache=...] P
 *
 * At every call of the marker a row is appended to FILE, of uint64: instructions so far, and with
 * caches also loads and stores, and misses of every cache. What the marker does is counted too.
 * QEMU knows the program's symbols only where it logs something: -d plugin logs nothing else.
 *
 *   cache=SETS:WAYS:lru      a set-associative cache that replaces the line used longest ago
 *   cache=SETS:WAYS:random   one that fills a set, then replaces lines at random, by xorshift32
 *
 * Loads and stores look for their lines, of the same size everywhere, in the first cache, and on a
 * miss in the next, as it is given; every cache that misses takes the line in, after loads and
 * stores alike. Addresses are the program's own. Fetches of instructions, prefetchers, write-backs
 * and other cores are left out.
 *
 * The declarations are those of qemu-plugin.h that QEMU 7 to 10 share; Debian does not package it. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CACHES 3

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };
typedef void (*executed_callback)(unsigned int vcpu, void *data);
typedef void (*memory_callback)(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address,
                                void *data);

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t,
                                                            struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *instruction);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, executed_callback callback,
                                          enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction,
                                            executed_callback callback,
                                            enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *instruction,
                                      memory_callback callback, enum qemu_plugin_cb_flags flags,
                                      enum qemu_plugin_mem_rw rw, void *data);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);

/* QEMU 9 refuses plugins of version 1, and those before it plugins of version 2. What is used here
 * is the same in both; this function, which is not used, was taken out with version 2. */
void qemu_plugin_register_vcpu_tb_exec_inline(void) __attribute__((weak));
int qemu_plugin_version = 2;

__attribute__((constructor)) static void choose_version(void)
{
    if (qemu_plugin_register_vcpu_tb_exec_inline) qemu_plugin_version = 1;
}

struct cache {
    uint64_t *tags; /* [sets][ways]: a line's number plus one, or 0; lru: the last used first */
    uint64_t last_set;
    size_t ways;
    int random;
    uint64_t misses;
};

static char marker[256];
static FILE *output;
static uint64_t instructions, accesses;
static struct cache caches[MOST_CACHES];
static size_t cache_count;
static unsigned int line_shift;
static uint32_t noise = 2463534242u;

static size_t random_way(size_t ways)
{
    noise ^= noise << 13;
    noise ^= noise >> 17;
    noise ^= noise << 5;
    return noise % ways;
}

/* Whether a line is there; it is afterwards. */
static int look_up(struct cache *cache, uint64_t line)
{
    uint64_t *set = cache->tags + (line & cache->last_set) * cache->ways;
    size_t way = 0;
    int hit;
    while (way < cache->ways && set[way] && set[way] != line + 1) way++;
    hit = way < cache->ways && set[way];
    if (cache->random) {
        if (!hit) set[way < cache->ways ? way : random_way(cache->ways)] = line + 1;
        return hit;
    }
    if (way == cache->ways) way--;
    for (; way > 0; way--) set[way] = set[way - 1];
    set[0] = line + 1;
    return hit;
}

static void accessed(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    static uint64_t recent = UINT64_MAX; /* in the first cache, and last used there */
    const uint64_t end = address + ((uint64_t)1 << qemu_plugin_mem_size_shift(info)) - 1;
    const uint64_t last = end >> line_shift;
    uint64_t line = address >> line_shift;
    size_t i;
    (void)vcpu;
    (void)data;
    accesses++;
    if (line == recent && last == recent) return;
    for (; line <= last; line++)
        for (i = 0; i < cache_count && !look_up(&caches[i], line); i++) caches[i].misses++;
    recent = last;
}

static void entered(unsigned int vcpu, void *data)
{
    (void)vcpu;
    instructions += (uintptr_t)data;
}

static void marked(unsigned int vcpu, void *data)
{
    uint64_t row[2 + MOST_CACHES] = {instructions, accesses};
    size_t i;
    (void)vcpu;
    (void)data;
    for (i = 0; i < cache_count; i++) row[2 + i] = caches[i].misses;
    fwrite(row, sizeof row[0], cache_count ? 2 + cache_count : 1, output);
    fflush(output); /* the program may end in any way */
}

/* Whether a block is the start of the marker: the first of its blocks to be translated. */
static int is_start(const struct qemu_plugin_insn *first)
{
    static uint64_t start;
    const char *symbol = qemu_plugin_insn_symbol(first);
    if (!symbol || strcmp(symbol, marker)) return 0;
    if (!start) start = qemu_plugin_insn_vaddr(first);
    return qemu_plugin_insn_vaddr(first) == start;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    const size_t count = qemu_plugin_tb_n_insns(block);
    struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(block, 0);
    size_t i;
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, entered, QEMU_PLUGIN_CB_NO_REGS,
                                         (void *)(uintptr_t)count);
    if (is_start(first))
        qemu_plugin_register_vcpu_insn_exec_cb(first, marked, QEMU_PLUGIN_CB_NO_REGS, NULL);
    for (i = 0; i < count && cache_count; i++)
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(block, i), accessed,
                                         QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
}

static int add_cache(const char *text)
{
    uint64_t sets;
    size_t ways;
    char replacement[8];
    struct cache *cache = &caches[cache_count];
    if (cache_count == MOST_CACHES) return 0;
    if (sscanf(text, "%" SCNu64 ":%zu:%7s", &sets, &ways, replacement) != 3) return 0;
    cache->last_set = sets - 1;
    cache->ways = ways;
    cache->random = !strcmp(replacement, "random");
    cache->tags = calloc(sets * ways, sizeof *cache->tags);
    cache_count++;
    return cache->tags != NULL;
}

static int take(char *argument)
{
    char *value = strchr(argument, '=');
    if (!value) return 0;
    *value++ = '\0';
    if (!strcmp(argument, "marker"))
        return snprintf(marker, sizeof marker, "%s", value) < (int)sizeof marker;
    if (!strcmp(argument, "output")) return (output = fopen(value, "wb")) != NULL;
    if (!strcmp(argument, "cache")) return add_cache(value);
    if (strcmp(argument, "line")) return 0;
    while (1 << line_shift < atoi(value)) line_shift++;
    return 1;
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    int i;
    (void)info;
    for (i = 0; i < argc; i++) {
        if (!take(argv[i])) {
            fprintf(stderr, "count_kernels: cannot take the argument %s\n", argv[i]);
            return 1;
        }
    }
    if (!output) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
