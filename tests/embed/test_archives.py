"""What archives for every target define, ask for and hold, and headers under every dialect of C."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from elftools.elf.elffile import ELFFile

from hqc.targets import load_target, target_names
from tests.embed.programs import compiled

TARGETS = [t for t in target_names() if not load_target(t).llvm["triple"].startswith("wasm")]
"""Those of ELF archives; what is given for WebAssembly is a whole module, see tests/wasm."""

ASKED = {"memset", "memcpy"}


def objects(library, folder):
    folder.mkdir()
    subprocess.run(["ar", "x", library / "libnet.a"], cwd=folder, check=True)
    return sorted(folder.iterdir())


def symbols_of(path):
    """(name, whether it is defined, whether others see it, visibility) of every named symbol."""
    with path.open("rb") as file:
        for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols():
            if symbol.name:
                yield (
                    symbol.name,
                    symbol["st_shndx"] != "SHN_UNDEF",
                    symbol["st_info"]["bind"] != "STB_LOCAL",
                    symbol["st_other"]["visibility"],
                )


@pytest.mark.parametrize("target", TARGETS)
def test_archives_keep_to_their_own_symbols(target, tiny_libraries, tmp_path):
    defined, asked = set(), set()
    for made in objects(tiny_libraries / target, tmp_path / "objects"):
        for name, is_defined, is_global, visibility in symbols_of(made):
            if is_defined and is_global:
                defined.add(name)
                assert name != "net_weights" or visibility == "STV_HIDDEN"
            elif not is_defined:
                asked.add(name)
        with made.open("rb") as file:
            held = {s.name for s in ELFFile(file).iter_sections() if s.data_size and s["sh_flags"]}
        changing = [s for s in held if re.match(r"\.(data|bss|sdata|sbss|tdata|tbss)(?!\.rel)", s)]
        assert not changing, made
        assert not [s for s in held if re.match(r"\.(eh_frame|ARM\.extab)", s)], made
    assert {name for name in defined if not name.startswith("net_")} == set()
    linkers_own = {"_GLOBAL_OFFSET_TABLE_"} if target == "host" else set()
    assert asked - defined <= ASKED | linkers_own


@pytest.mark.parametrize("target", TARGETS)
def test_what_targets_without_operating_system_link(target, tiny_libraries, tmp_path):
    """A bare program has no table of global offsets: nothing may ask for one."""
    if not load_target(target).is_bare:
        pytest.skip("it has an operating system")
    for made in objects(tiny_libraries / target, tmp_path / "objects"):
        done = subprocess.run(["readelf", "-rW", made], capture_output=True, text=True, check=True)
        assert not re.search("_GOT|_PLT32", done.stdout), made


def test_archives_do_not_say_where_they_were_made(
    tiny_model, tiny_libraries, tmp_path, monkeypatch, nothing_kept
):
    for target in ("host", "arm-a72", "cortex-m0plus", "rv32imc"):
        elsewhere = tmp_path / f"a folder far away for {target}"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        again = compiled(tiny_model, target, elsewhere / "build")
        for file in ("libnet.a", "net.h", "net.c"):
            assert (again / file).read_bytes() == (tiny_libraries / target / file).read_bytes(), (
                target
            )


FLOAT_FLAGS = {
    "cortex-m0plus": "-mfloat-abi=soft",
    "cortex-m3": "-mfloat-abi=soft",
    "cortex-m33": "-mfloat-abi=hard -mfpu=fpv5-sp-d16",
    "cortex-m4": "-mfloat-abi=hard -mfpu=fpv4-sp-d16",
    "cortex-m55": "-mfloat-abi=hard",
    "cortex-m7": "-mfloat-abi=hard -mfpu=fpv5-d16",
}
"""What a program for each core is compiled with: floats in registers, or none."""


def test_every_cortex_m_is_linked():
    assert set(FLOAT_FLAGS) == {t for t in target_names() if t.startswith("cortex-m")}


_BARE = """
#include "net.h"
HQC_ALIGNED static uint8_t arena[NET_STREAM_ARENA_BYTES + NET_ARENA_BYTES];
static float frames[NET_INPUT_SIZE], logits[NET_OUTPUT_SIZE];
static int32_t integers[NET_OUTPUT_SIZE];
static net_code codes[NET_INPUT_SIZE];
void _start(void);
void _start(void)
{
    net_t model;
    if (net_init(&model, arena, sizeof arena) != HQC_OK) return;
    net_run(&model, frames, logits);
    net_run_bytes(&model, codes, integers);
    net_reset(&model);
    net_step(&model, frames);
    net_step_bytes(&model, codes);
    net_read(&model, logits);
    net_read_integers(&model, integers);
    net_classify(&model, integers);
}
void *memset(void *to, int byte, size_t size)
{
    volatile uint8_t *at = to;
    while (size--) *at++ = (uint8_t)byte;
    return to;
}
void *memcpy(void *to, const void *from, size_t size)
{
    volatile uint8_t *at = to;
    const uint8_t *source = from;
    while (size--) *at++ = *source++;
    return to;
}
"""


@pytest.mark.parametrize("target", FLOAT_FLAGS)
def test_gcc_links_without_a_warning_and_without_libraries(target, tiny_libraries, tmp_path):
    (tmp_path / "main.c").write_text(_BARE)
    command = ["arm-none-eabi-gcc", f"-mcpu={target}", "-mthumb", *FLOAT_FLAGS[target].split()]
    command += ["-O1", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib"]
    command += ["-Wl,--fatal-warnings", f"-I{tiny_libraries / target}", "main.c"]
    command += [str(tiny_libraries / target / "libnet.a"), "-o", "program"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


_WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wundef", "-Werror"]
_PLACED = """
#include "net.h"
HQC_ALIGNED static uint8_t arena[NET_ARENA_BYTES];
HQC_ALIGNED uint8_t seen_by_others[64];
int main(void)
{
    HQC_ALIGNED uint8_t local[64];
    net_t model;
    local[0] = 0;
    if (net_init(&model, arena, sizeof arena) != HQC_OK) return 1;
    if ((uintptr_t)local % HQC_ALIGNMENT || (uintptr_t)seen_by_others % HQC_ALIGNMENT) return 2;
    return hqc_status_text(HQC_OK)[0] == 'o' ? local[0] : 3;
}
"""


def compilers(*names):
    return [c for c in names if shutil.which(c)]


@pytest.mark.parametrize("standard", ["c99", "c11", "c17", "gnu99"])
@pytest.mark.parametrize("cc", compilers("gcc", "clang"))
def test_c_compiles_without_a_warning(cc, standard, tiny_libraries, tmp_path):
    (tmp_path / "main.c").write_text(_PLACED)
    library = tiny_libraries / "host"
    command = [cc, f"-std={standard}", *_WARNINGS, "-Wstrict-prototypes", "main.c"]
    command += [str(library / "net.c"), str(library / "libnet.a"), f"-I{library}", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "main"], check=True)


@pytest.mark.parametrize("standard", ["c++11", "c++17", "c++20"])
@pytest.mark.parametrize("cxx", compilers("g++", "clang++"))
def test_the_header_is_of_cxx_too(cxx, standard, tiny_libraries, tmp_path):
    (tmp_path / "main.cc").write_text(_PLACED)
    library = tiny_libraries / "host"
    command = [cxx, f"-std={standard}", *_WARNINGS, "main.cc"]
    command += [f"-I{library}", str(library / "libnet.a"), "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "main"], check=True)


@pytest.mark.parametrize(
    ("defined", "spelling"),
    [
        ("-U__GNUC__ -U__clang__ -D_MSC_VER=1930", "__declspec(align(64)) static uint8_t arena"),
        ("-U__GNUC__ -U__clang__ -D__ICCARM__", "data_alignment=64"),
        ("-U__GNUC__ -U__clang__ -D__ICCRISCV__", "data_alignment=64"),
        ("-U__GNUC__ -U__clang__", "_Alignas(64) static uint8_t arena"),
        ("", "__attribute__((aligned(64))) static uint8_t arena"),
    ],
)
def test_other_compilers_read_their_own_spelling(defined, spelling, tiny_libraries, tmp_path):
    """As far as the preprocessor shows it: what is before the declaration of an arena."""
    (tmp_path / "main.c").write_text(_PLACED)
    (tmp_path / "stdint.h").touch()
    (tmp_path / "stddef.h").touch()
    command = ["gcc", "-E", "-P", "-nostdinc", "-std=c11", *defined.split(), f"-I{tmp_path}"]
    command += [f"-I{tiny_libraries / 'host'}", str(tmp_path / "main.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert spelling in done.stdout


def test_a_status_is_32_bits_whatever_an_enum_is(tiny_libraries, tmp_path):
    """A library and a program may be compiled with and without -fshort-enums."""
    text = '#include "net.h"\ntypedef char is_32_bits[sizeof(hqc_status) == 4 ? 1 : -1];\n'
    (tmp_path / "main.c").write_text(text)
    for flag in ("-fshort-enums", "-fno-short-enums"):
        command = ["gcc", flag, f"-I{tiny_libraries / 'host'}", "-fsyntax-only", "main.c"]
        subprocess.run(command, cwd=tmp_path, check=True)
