"""The C++ wrapper: every way to run gives the same, without exceptions and RTTI, warning-free."""

from __future__ import annotations

import re
import shutil

import pytest

from hqc.codegen.toolchain import _ZIG
from tests.conftest import needs_compiler
from tests.packaging.ways import RECORDING, done

PROGRAM = r"""
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "nmnist.hpp"

using model_type = hqc::nmnist_owner;
static model_type model;
alignas(64) static std::uint8_t memory[model_type::arena_size];
static std::array<float, model_type::input_size> frames;
static std::array<model_type::code, model_type::input_size> codes;
static hqc_event events[100000];

#define MUST(call) if (failed(#call, (call))) return 1
#define SAY(call) std::printf("%s\n", hqc::text(call))

static bool failed(const char *call, hqc::status found)
{
    if (found != hqc::status::ok) std::printf("%s: %s\n", call, hqc::text(found));
    return found != hqc::status::ok;
}

int main(int count, char **arguments)
{
    std::FILE *file = count == 2 ? std::fopen(arguments[1], "rb") : nullptr;
    if (file == nullptr) return 2;
    std::size_t size = 0;
    for (unsigned char b[5]; std::fread(b, sizeof b, 1, file) == 1; size++) {
        const auto time = static_cast<std::uint32_t>((b[2] & 127) << 16 | b[3] << 8 | b[4]);
        events[size] = {time, b[0], b[1], static_cast<std::uint8_t>(b[2] >> 7)};
    }
    std::fclose(file);
    const std::uint32_t first = events[0].time, span = events[size - 1].time - first + 1;
    for (std::size_t i = 0; i < size; i++) {
        const hqc_event &e = events[i];
        const auto t = static_cast<std::size_t>((e.time - first) * std::uint64_t{8} / span);
        frames[((t * 2 + e.polarity) * NMNIST_HEIGHT + e.y) * NMNIST_WIDTH + e.x] += 1.0f;
    }
    for (std::size_t i = 0; i < frames.size(); i++) {
        const long code = std::lround(frames[i] / NMNIST_INPUT_SCALE);
        codes[i] = static_cast<std::uint8_t>(code < NMNIST_INPUT_MAX ? code : NMNIST_INPUT_MAX);
    }

    float logits[model_type::output_size], streamed[model_type::output_size];
    std::vector<std::int32_t> integers(model_type::output_size);
    std::int32_t others[model_type::output_size];
    MUST(model.ready());
    MUST(model.run(frames, logits));
    std::printf("%d\n", model.label());

    MUST(model.reset());
    for (std::size_t t = 0; t < model_type::time_steps; t++)
        MUST(model.step({frames.data() + t * model_type::step_input_size,
                         model_type::step_input_size}));
    MUST(model.read(streamed));
    std::printf("%d\n", std::memcmp(logits, streamed, sizeof logits));
    MUST(model.read_integers(integers));

    MUST(model.run_bytes(codes, others));
    std::printf("%d\n", std::memcmp(others, integers.data(), sizeof others));
    MUST(model.run_events({events, size}, others));
    std::printf("%d\n", std::memcmp(others, integers.data(), sizeof others));
    MUST(model.reset());
    for (std::size_t t = 0; t < model_type::time_steps; t++)
        MUST(model.step_bytes({codes.data() + t * model_type::step_input_size,
                               model_type::step_input_size}));
    MUST(model.read());
    std::printf("%d\n", model.label());

    hqc::nmnist_model lent(memory);
    MUST(lent.ready());
    MUST(lent.run(frames));
    std::printf("%d\n", lent.label());
    SAY(lent.reset());
    SAY(lent.run({frames.data(), 3}));
    SAY(lent.run(frames, {streamed, 9}));
    hqc::nmnist_model askew({memory + 1, sizeof memory - 1});
    SAY(askew.ready());
    SAY(askew.run(frames));
    std::printf("%d\n", askew.label());
    return 0;
}
"""

FLAGS = [
    *("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion"),
    *("-fno-exceptions", "-fno-rtti"),
]


@needs_compiler
@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_every_way_gives_the_same_class(host_artifact, tmp_path, standard):
    (tmp_path / "main.cpp").write_text(PROGRAM)
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
    library = host_artifact.folder / "libnmnist.a"
    done(
        *(compiler, f"-std={standard}", *FLAGS, "-fsanitize=address,undefined"),
        *("main.cpp", f"-I{host_artifact.folder}", library, "-o", "main"),
        cwd=tmp_path,
    )
    assert done(tmp_path / "main", RECORDING, cwd=tmp_path).splitlines() == [
        *("3", "0", "0", "0", "3", "3"),
        "the arena is smaller than the header says",
        "a span has another size than the model's",
        "a span has another size than the model's",
        "the arena is smaller than the header says",
        "call init first, reset before the first step, and run or read before classify",
        "-1",
    ]


IMAGE = r"""
#include <array>
#include <cstdint>

#include "pictures.hpp"

using model_type = hqc::pictures_owner;
static model_type model;
static std::array<float, model_type::input_size> frames;
static std::array<float, model_type::step_input_size> image;
static std::array<model_type::code, model_type::step_input_size> codes;
static std::array<float, model_type::output_size> one, all;
static std::array<std::int32_t, model_type::output_size> integers, read;

int main()
{
    using hqc::status;
    for (std::size_t i = 0; i < frames.size(); i++) {
        const std::size_t pixel = i % image.size(), code = pixel * 37 % 256;
        codes[pixel] = static_cast<model_type::code>(code);
        frames[i] = image[pixel] = static_cast<float>(code) * PICTURES_INPUT_SCALE;
    }
    if (model.run(frames, all) != status::ok || model.run_image(image, one) != status::ok) return 1;
    if (one != all) return 2;
    if (model.run_image_bytes(codes, integers) != status::ok) return 3;
    if (model.reset() != status::ok) return 4;
    for (std::size_t t = 0; t < model_type::time_steps; t++)
        if (model.step(image) != status::ok) return 5;
    if (model.read_integers(read) != status::ok || read != integers) return 6;
    if (model.run_image(frames, one) != status::size) return 7;
    return model.run_image_bytes({codes.data(), 1}) == status::size ? 0 : 8;
}
"""


@needs_compiler
def test_an_image_is_run_as_its_copies(pictures, tmp_path):
    (tmp_path / "main.cpp").write_text(IMAGE)
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
    where = (f"-I{pictures.folder}", f"-L{pictures.folder}", "-lpictures", "-o", "main")
    done(compiler, "-std=c++17", *FLAGS, "main.cpp", *where, cwd=tmp_path)
    done(tmp_path / "main", cwd=tmp_path)


BOTH = """
#include "nmnist.hpp"
#include "tiny.hpp"
static hqc::nmnist_owner events;
static hqc::tiny_owner images;
int main()
{
    return events.ready() == hqc::status::ok && images.ready() == hqc::status::ok ? 0 : 1;
}
"""


@needs_compiler
def test_two_models_live_in_one_program(host_artifact, tiny, tmp_path):
    """One of events and one of images, whose wrapper has no calls for events."""
    folders = [host_artifact.folder, tiny("host").folder]
    (tmp_path / "main.cpp").write_text(BOTH)
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
    where = [flag for folder in folders for flag in (f"-I{folder}", f"-L{folder}")]
    libraries = ("-lnmnist", "-ltiny", "-o", "main")
    done(compiler, "-std=c++17", *FLAGS, "main.cpp", *where, *libraries, cwd=tmp_path)
    done(tmp_path / "main", cwd=tmp_path)


def test_a_machine_without_the_cplusplus_library_compiles_it(tiny, tmp_path):
    artifact = tiny("cortex-m4")
    text = '#include "tiny.hpp"\nhqc::tiny_owner model;\nint main() { return model.label(); }\n'
    (tmp_path / "main.cpp").write_text(text)
    compiler = ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4", "-ffreestanding")
    command = (*_ZIG, "c++", *compiler, "-std=c++17", *FLAGS, f"-I{artifact.folder}")
    done(*command, "-c", "main.cpp", "-o", "main.o", cwd=tmp_path)


def test_every_status_of_c_has_its_name(tiny):
    c, cplusplus = ((tiny("host").folder / f"hqc.{e}").read_text() for e in ("h", "hpp"))
    statuses = set(re.findall(r"HQC_ERROR_\w+", c))
    assert len(statuses) >= 8
    assert statuses == set(re.findall(r"HQC_ERROR_\w+", cplusplus))
