"""Counting under QEMU: the cache model against another one, and against misses found by hand."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from importlib import resources

import numpy as np
import pytest

import hqc
from hqc.codegen.toolchain import Toolchain
from hqc.errors import ToolError
from hqc.kernel_counts import Counts, count_kernels, estimated_cycles, estimated_ms, run_counted
from hqc.profiling import recordings_of
from hqc.targets import load_target
from tests.conftest import NMNIST

LINE = 64

EMULATOR = """
#include "count_kernels.c"

/* In the place of QEMU: one block of one instruction, the marker; accesses from standard input. */
struct qemu_plugin_tb { int unused; };
struct qemu_plugin_insn { int unused; };
static struct qemu_plugin_tb the_block;
static struct qemu_plugin_insn the_instruction;
static void (*translate)(qemu_plugin_id_t, struct qemu_plugin_tb *);
static executed_callback execute, mark;
static memory_callback access_memory;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t,
                                                            struct qemu_plugin_tb *))
{
    (void)id;
    translate = callback;
}

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block)
{
    (void)block;
    return 1;
}

struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index)
{
    (void)block;
    (void)index;
    return &the_instruction;
}

uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction)
{
    (void)instruction;
    return 4096;
}

const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *instruction)
{
    (void)instruction;
    return "marker";
}

void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, executed_callback callback,
                                          enum qemu_plugin_cb_flags flags, void *data)
{
    (void)block;
    (void)flags;
    (void)data;
    execute = callback;
}

void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction,
                                            executed_callback callback,
                                            enum qemu_plugin_cb_flags flags, void *data)
{
    (void)instruction;
    (void)flags;
    (void)data;
    mark = callback;
}

void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *instruction,
                                      memory_callback callback, enum qemu_plugin_cb_flags flags,
                                      enum qemu_plugin_mem_rw rw, void *data)
{
    (void)instruction;
    (void)flags;
    (void)rw;
    (void)data;
    access_memory = callback;
}

unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info)
{
    return info;
}

int main(int argc, char **argv)
{
    uint64_t access[2]; /* address, binary logarithm of the size */
    if (qemu_plugin_install(0, NULL, argc - 1, argv + 1)) return 1;
    translate(0, &the_block);
    while (fread(access, sizeof access, 1, stdin) == 1) {
        execute(0, (void *)1);
        access_memory(0, (qemu_plugin_meminfo_t)access[1], access[0], NULL);
        mark(0, NULL);
    }
    return 0;
}
"""

PATTERNS = """
#include <stddef.h>
#include <stdint.h>

void marker(void);

static uint8_t memory[4 << 20] __attribute__((aligned(64)));

static inline void read(size_t bytes, size_t stride, int times)
{
    const volatile uint8_t *at = memory;
    size_t i;
    for (; times > 0; times--)
        for (i = 0; i < bytes; i += stride) (void)at[i];
}

int main(void)
{
    read(sizeof memory, 64, 1);
    marker();
    read(16 << 10, 1, 1);
    marker();
    read(16 << 10, 1, 1);
    marker();
    read(64 << 10, 64, 1);
    marker();
    read(64 << 10, 64, 1);
    marker();
    read(48 << 10, 16 << 10, 10);
    marker();
    read(32 << 10, 16 << 10, 10);
    marker();
    read(2 << 20, 64, 1);
    marker();
    read(2 << 20, 64, 1);
    marker();
    return 0;
}
"""

MISSES = [
    # Accesses, misses of 32 KiB in 2 ways, and of 1 MiB in 16 ways; lines are 64 B, the line used
    # longest ago goes. All 4 MiB were read just before: the caches hold the end.
    (16384, 256, 256),  # 16 KiB byte by byte: once a line
    (16384, 0, 0),  # again: they are all there
    (1024, 768, 768),  # once a line of 64 KiB: both find the first 16 KiB, which are there
    (1024, 1024, 0),  # again: what is wanted next has always just been replaced
    (30, 30, 0),  # three lines of one set of two ways, in turn
    (20, 2, 0),  # two of them, of which the second was just replaced by the first
    (32768, 32766, 31744),  # the first finds those two, the second the 64 KiB from before
    (32768, 32768, 32768),
]


class Lru:
    """A set-associative cache that replaces the line used longest ago."""

    def __init__(self, sets: int, ways: int) -> None:
        self.sets, self.ways = [OrderedDict() for _ in range(sets)], ways

    def holds(self, line: int) -> bool:
        lines = self.sets[line % len(self.sets)]
        hit = line in lines
        lines[line] = None
        lines.move_to_end(line)
        if len(lines) > self.ways:
            lines.popitem(last=False)
        return hit


class Random:
    """One that fills a set, then replaces at random."""

    def __init__(self, sets: int, ways: int) -> None:
        self.sets, self.ways = [[] for _ in range(sets)], ways

    def holds(self, line: int) -> bool:
        lines = self.sets[line % len(self.sets)]
        if line in lines:
            return True
        if len(lines) < self.ways:
            lines.append(line)
        else:
            lines[next(self.noise) % self.ways] = line
        return False


def xorshift32(state=2463534242):
    while True:
        for shift in (13, -17, 5):
            state ^= (state << shift if shift > 0 else state >> -shift) & 0xFFFFFFFF
        yield state


def misses(caches, trace):
    """Misses of each cache so far, after every access of (address, shift)."""
    counted = np.zeros(len(caches), np.uint64)
    for address, shift in trace:
        for line in range(address // LINE, (address + (1 << shift) - 1) // LINE + 1):
            for i, cache in enumerate(caches):
                if cache.holds(line):
                    break
                counted[i] += 1
        yield counted.copy()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emulator")
    text = (resources.files("hqc.runtimes.qemu") / "count_kernels.c").read_text()
    (folder / "count_kernels.c").write_text(text)
    (folder / "emulator.c").write_text(EMULATOR)
    Toolchain.of(load_target("host")).program(["emulator.c"], "emulator", folder)
    return folder / "emulator"


def traces(rng):
    yield [(i, 0) for i in range(3000)]
    yield [(i * LINE * 8, 3) for i in range(40)] * 20
    anywhere = rng.integers(0, 9000, 4000)
    nearby = np.cumsum(rng.integers(-90, 100, 4000)) + (1 << 40)
    for addresses in (anywhere, nearby):
        yield np.stack([addresses, rng.integers(0, 5, 4000)], 1).tolist()


@pytest.mark.parametrize("kind", [Lru, Random])
@pytest.mark.parametrize("sizes", [[(8, 2)], [(1, 4), (16, 3)], [(4, 1), (8, 2), (16, 4)]])
def test_the_cache_model_is_another_one_of_the_same_caches(emulator, kind, sizes, rng, tmp_path):
    for trace in traces(rng):
        caches = [kind(*size) for size in sizes]
        noise = xorshift32()
        for cache in caches:
            cache.noise = noise
        options = [f"cache={sets}:{ways}:{kind.__name__.lower()}" for sets, ways in sizes]
        output = tmp_path / "rows"
        subprocess.run(
            [emulator, "marker=marker", f"output={output}", f"line={LINE}", *options],
            input=np.array(trace, "<u8").tobytes(),
            check=True,
        )
        rows = np.fromfile(output, "<u8").reshape(len(trace), -1)
        assert (rows[:, 0] == np.arange(1, len(trace) + 1)).all()
        assert (rows[:, 1] == np.arange(1, len(trace) + 1)).all()
        assert (rows[:, 2:] == np.array(list(misses(caches, trace)))).all()
        assert 0 < rows[-1, 2] < 2 * len(trace)


def linked(folder, source, target, inside=""):
    """A program of a source and of a marker that does what is `inside`."""
    (folder / "patterns.c").write_text(source)
    (folder / "marker.c").write_text(f"void marker(void)\n{{\n{inside}\n}}\n")
    Toolchain.of(target).program(["patterns.c", "marker.c"], "patterns", folder)
    return folder / "patterns"


def test_patterns_miss_as_often_as_counted_by_hand(tmp_path):
    target = load_target("arm-a72")
    program = linked(tmp_path, PATTERNS, target)
    _, rows = run_counted(target, program, [], b"", "marker", tmp_path)
    counted = np.diff(rows.astype(np.int64), axis=0)
    assert counted[:, 1:].tolist() == [list(row) for row in MISSES]
    assert (counted[:, 0] > counted[:, 1]).all()


def test_a_marker_of_several_blocks_is_called_once(tmp_path):
    target = load_target("arm-a72")
    program = linked(tmp_path, PATTERNS, target, '__asm__ volatile("b 1f\\n1:");')
    _, rows = run_counted(target, program, [], b"", "marker", tmp_path)
    assert len(rows) == len(MISSES) + 1


def test_counts_do_not_change_with_the_environment(arm_artifact, monkeypatch):
    frames = [recordings_of(arm_artifact, NMNIST / "sample" / "3", 1)[0].frames]
    counts, logits = count_kernels(arm_artifact, frames)
    monkeypatch.setenv("HQC_TEST_OF_A_LONG_ENVIRONMENT", "x" * 777)
    again, logits_again = count_kernels(arm_artifact, frames)
    assert counts == again
    assert np.array_equal(logits, logits_again)
    assert all(c.accesses > c.misses["l1d"] >= c.misses["l2"] for c in counts)


def test_an_estimate_is_the_sum_that_the_target_says():
    target = load_target("arm-a72")
    counts = Counts(1000, 500, {"l1d": 10, "l2": 2})
    costs = target.cycles
    expected = 1000 * costs["instruction"] + 10 * costs["l1d"] + 2 * costs["l2"]
    assert estimated_cycles(target, counts) == pytest.approx(expected)
    assert estimated_ms(target, counts) == pytest.approx(expected / 1.5e9 * 1e3)


def test_there_is_no_estimate_without_constants_or_counts_for_them():
    assert estimated_cycles(load_target("cortex-m4"), Counts(1000)) is None
    assert estimated_cycles(load_target("arm-a72"), Counts(1000)) is None


def derived(folder, **settings):
    """A target like arm-a72, but for what is said."""
    said = "\n".join(f"  {name} {value}" for name, value in settings.items())
    (folder / "mine.hqt").write_text(f"target mine extends arm-a72 {{\n{said}\n}}\n")
    return str(folder / "mine.hqt")


def test_a_target_that_does_not_say_its_caches_lacks_misses(tmp_path):
    target = load_target(derived(tmp_path, cache="l1d 32 KiB, l2 1 MiB"))
    program = linked(tmp_path, PATTERNS, target)
    _, rows = run_counted(target, program, [], b"", "marker", tmp_path)
    assert rows.shape == (len(MISSES) + 1, 1)


def test_emulators_of_others_are_refused(tiny_model, tmp_path):
    target = derived(tmp_path, emulate='"true"')
    artifact = hqc.compile(tiny_model, target, tmp_path / "build")
    with pytest.raises(ToolError, match="runs here under true, which does not count instructions"):
        count_kernels(artifact, [np.zeros((2, 1, 1, 4, 4), np.float32)])


def test_an_emulator_without_plugins_says_so(tmp_path, monkeypatch):
    without = tmp_path / "qemu-without"
    without.write_text("#!/bin/sh\necho plugin interface not enabled >&2\nexit 1\n")
    without.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    target = load_target(derived(tmp_path, emulate='"qemu-without"'))
    program = linked(tmp_path, PATTERNS, target)
    with pytest.raises(ToolError, match="does not load hqc's plugin: plugin interface not") as said:
        run_counted(target, program, [], b"", "marker", tmp_path)
    assert "built with plugins" in said.value.hint


def test_a_program_without_symbols_is_not_counted(arm_artifact):
    frames = recordings_of(arm_artifact, NMNIST / "sample" / "3", 1)[0].frames
    stripping = f"{sys.executable} -m ziglang cc -target aarch64-linux-musl -s"
    with pytest.raises(ToolError, match=r"saw 0 calls of nmnist_trace, not \d+") as said:
        count_kernels(arm_artifact, [frames], stripping)
    assert "keep the symbols" in said.value.hint


def test_a_program_that_fails_is_told_with_what_it_said(tmp_path):
    source = '#include <stdio.h>\nint main(void) { fprintf(stderr, "no luck\\n"); return 1; }\n'
    target = load_target("arm-a72")
    program = linked(tmp_path, source, target)
    with pytest.raises(ToolError, match="failed: no luck"):
        run_counted(target, program, [], b"", "marker", tmp_path)
