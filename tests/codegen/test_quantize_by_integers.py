"""Frames to codes by comparing bits, against the op's definition."""

from __future__ import annotations

import ctypes

import numpy as np
import onnx_ir as ir
import pytest

from hqc.codegen.quantize_by_integers import code_beginnings, quantize_by_integers
from hqc.codegen.toolchain import Toolchain
from hqc.dialect import ops
from hqc.dialect.quantize_frames import quantize_frames
from hqc.targets import load_target
from tests.small_models import model_of

SIZE = 1 << 20
CASES = [
    (1.0, 0, 255), (0.5, 0, 255), (1 / 3, 0, 15), (0.017, -128, 127), (2.0**-130, -127, 127),
    (3.0e37, -8, 7), (1e-45, 0, 3), (7.25, 0, 1),
]  # fmt: skip


@pytest.mark.parametrize(("scale", "qmin", "qmax"), CASES)
def test_every_float_has_its_code(scale, qmin, qmax, tmp_path, rng):
    op = next(o for o in ops() if o.name == "QuantizeFrames")
    to = ir.DataType.UINT8 if qmin >= 0 else ir.DataType.INT8
    attributes = {"qmin": qmin, "qmax": qmax, "to": to.value}
    scales = np.array([scale], np.float32)
    bits = rng.integers(0, 2**32, SIZE, dtype=np.uint32)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        near = ((np.arange(qmin - 2, qmax + 3) + 0.5) * scales).astype(np.float32)
    beside = near.view(np.uint32)[:, None] + np.arange(-3, 4).astype(np.uint32)
    ends = np.uint32([0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00001, 1, 0x80000001])
    bits[: beside.size] = beside.reshape(-1)
    bits[beside.size : beside.size + ends.size] = ends
    frames = bits.view(np.float32)

    with np.errstate(all="ignore"):
        expected = quantize_frames(np.nan_to_num(frames, nan=-np.inf, posinf=np.inf,
                                                 neginf=-np.inf), scales, **attributes)  # fmt: skip
    inputs = [frames.reshape(1, 1, 1, 1, -1), scales]
    node = model_of(op, inputs, attributes, expected.reshape(1, 1, 1, 1, -1), 1).graph[0]
    with np.errstate(all="ignore"):
        assert (np.diff(code_beginnings(node).astype(np.int64)) >= 0).all()
        text = quantize_by_integers(node, "quantize").replace("static void", "void")
    header = "#include <stdint.h>\n#include <string.h>\n"
    (tmp_path / "q.c").write_text(header + text)
    host = Toolchain.of(load_target("host"))
    host.share([host.compile("q.c", tmp_path)], "q.so", tmp_path)
    codes = np.empty(SIZE, to.numpy())
    pointers = (a.ctypes.data_as(ctypes.c_void_p) for a in (frames, codes))
    ctypes.CDLL(str(tmp_path / "q.so")).quantize(*pointers, None, 0, 1)
    np.testing.assert_array_equal(codes, expected)
