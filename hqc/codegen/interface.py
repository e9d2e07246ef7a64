"""What a compiled model takes and gives, as its header says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from string import Template

import numpy as np
import onnx_ir as ir

from hqc.data.recordings import class_names, preprocessing_of
from hqc.dialect import find_op
from hqc.dialect.facts import Facts
from hqc.dialect.layouts import ALIGNMENT
from hqc.dialect.metadata import ARENA, THREADS
from hqc.dialect.quantize_frames import quantize_frames
from hqc.version import VERSION

_MOST_STEPS = 2**16 - 1
"""Time steps of which the products of two fit 32 bits."""

_ROUNDED_UP = 1 + 2.0**-20
"""More than a float32 may be rounded up by."""


THREAD_FILES = ("hqc_pthread.h", "hqc_pthread.c", "hqc_openmp.h")
"""Files beside a library for several threads: ways to call its parts."""


def render(template: str, values: Mapping[str, object]) -> str:
    """A template of the runtime with its values."""
    text = (resources.files("hqc.runtimes.c") / template).read_text()
    return Template(text).substitute(values)


@dataclass(frozen=True)
class Interface:
    """A planned kernel model's input and output.

    `quantizer` is the QuantizeFrames of the input; None where there are several, so that the codes
    are not one array. `takes_events` is whether frames are counts of events, `takes_images` whether
    they are copies of one image: neither where there is no one array that holds their codes.
    `class_names` is None where the model does not say them.
    """

    model: ir.Model
    quantizer: ir.Node | None
    takes_events: bool
    takes_images: bool
    class_names: list[str] | None

    @classmethod
    def of(cls, model: ir.Model) -> Interface:
        """Read it off a model. Raises `UserError` where its classes have too few or many names."""
        found = [node for node in model.graph if node.op_type == "QuantizeFrames"]
        quantizer = found[0] if len(found) == 1 else None
        steps, _, channels, *_ = model.graph.inputs[0].shape.numpy()
        said = preprocessing_of(model.metadata_props) or {}
        kind = said.get("kind") if quantizer is not None else None
        events = kind == "events" and channels == 2 and steps <= _MOST_STEPS
        names = class_names(said, model.graph.outputs[0].shape.numpy()[-1])
        return cls(model, quantizer, events, kind == "image", names)

    @property
    def shape(self) -> tuple[int, ...]:
        """[T, 1, C, H, W]."""
        return self.model.graph.inputs[0].shape.numpy()

    @property
    def threads(self) -> int:
        """How many threads may share an inference."""
        return int(self.model.metadata_props.get(THREADS, 1))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """[..., classes]."""
        return self.model.graph.outputs[0].shape.numpy()

    @property
    def logits_at(self) -> dict[str, int]:
        """Where in the arena the logits are, in each plan: behind what the kernels use."""
        used = json.loads(self.model.metadata_props[ARENA])
        return {plan: max(size, ALIGNMENT) for plan, size in used.items()}

    @property
    def arena_bytes(self) -> dict[str, int]:
        """What the arena takes, in each plan."""
        size = -(-math.prod(self.output_shape) * 4 // ALIGNMENT) * ALIGNMENT
        return {plan: at + size for plan, at in self.logits_at.items()}

    def codes(self) -> dict | None:
        """How bytes stand for numbers: dtype, scale, min and max."""
        if self.quantizer is None:
            return None
        attributes = find_op(self.quantizer).attributes(self.quantizer)
        return {
            "dtype": self.quantizer.outputs[0].dtype.name.lower(),
            "scale": float(self.quantizer.inputs[1].const_value.numpy().reshape(-1)[0]),
            "min": attributes["qmin"],
            "max": attributes["qmax"],
        }

    def logit_shift(self) -> int:
        """s, so that every logit times 2^s fits 31 bits."""
        bound = largest_logit(self.model.graph.outputs[0].producer()) * _ROUNDED_UP
        return min(math.floor(math.log2((2**31 - 1) / bound)), 120) if bound else 0

    def values(self, name: str, frames_area: int | None) -> dict[str, object]:
        """What the templates say of it. `frames_area` is the area of the codes."""
        time_steps, _, channels, height, width = self.shape
        major, minor, patch = [*VERSION.split("."), "0", "0"][:3]
        codes = self.codes()
        shift = self.logit_shift()
        values: dict[str, object] = {
            "name": name,
            "NAME": name.upper(),
            "version": VERSION,
            "major": major,
            "minor": minor,
            "patch": patch,
            "time_steps": time_steps,
            "channels": channels,
            "height": height,
            "width": width,
            "step_shape": " x ".join(map(str, (channels, height, width))),
            "step_input_size": channels * height * width,
            "input_size": math.prod(self.shape),
            "output_size": math.prod(self.output_shape),
            "output_shape": list(self.output_shape),
            "threads": self.threads,
            "classes": self.output_shape[-1],
            "arena_bytes": self.arena_bytes["run"],
            "stream_arena_bytes": self.arena_bytes["stream"],
            "run_logits": self.logits_at["run"],
            "step_logits": self.logits_at["stream"],
            "logit_shift": shift,
            "sum_shift": shift + 31 - (math.prod(self.output_shape[:-1]) - 1).bit_length(),
            "logit_scale": _c_float(2.0**-shift),
            "input": f"{codes['dtype']}_t" if codes else "float",
            "frames_area": frames_area,
        }
        if codes:
            values |= {
                "code": f"{codes['dtype']}_t",
                "input_scale": _c_float(codes["scale"]),
                "input_min": codes["min"],
                "input_max": codes["max"],
                "code_min": np.iinfo(codes["dtype"]).min,
                "code_max": np.iinfo(codes["dtype"]).max,
                "counts_to_codes": self._counts_to_codes(),
            }
        names = ", ".join(map(_c_text, self.class_names or ()))
        values["class_names"] = f"#define {name.upper()}_CLASS_NAMES {{{names}}}\n" if names else ""
        values["bytes"] = render("bytes.h.in", values) if codes else ""
        values["image"] = render("image.h.in", values) if self.takes_images else ""
        values["events"] = render("events.h.in", values) if self.takes_events else ""
        shared = self.threads > 1
        values["set_threads"] = render("threads.h.in", values) if shared else ""
        values["team"] = "    hqc_team team;\n" if shared else ""
        values["one_thread"] = "    model->team.threads = 1;\n" if shared else ""
        return values

    def _counts_to_codes(self) -> str:
        """C that turns counts of events, 0 to 255, into codes."""
        counts = np.arange(256, dtype=np.float32)
        attributes = find_op(self.quantizer).attributes(self.quantizer)
        scale = self.quantizer.inputs[1].const_value.numpy().reshape(-1)
        codes = quantize_frames(counts, scale, **attributes).view(np.uint8)
        if np.array_equal(codes, counts):
            return "    (void)counts; /* a count is its code */\n    (void)size;"
        table = ", ".join(map(str, codes))
        return (
            f"    static const uint8_t code_of[256] = {{{table}}};\n"
            "    uint32_t i;\n"
            "    for (i = 0; i < size; i++) counts[i] = code_of[counts[i]];"
        )


def largest_logit(node: ir.Node) -> float:
    """What no logit of a network's exit is greater than, in magnitude."""
    facts = Facts.of(node.outputs[0])
    reach = np.maximum(np.abs(np.asarray(facts.low, float)), np.abs(np.asarray(facts.high, float)))
    scale = np.abs(node.inputs[-1].const_value.numpy().astype(float))
    if node.op_type == "IntegerLinear":
        bias = np.abs(node.inputs[2].const_value.numpy().astype(float))
        reach = reach * 2.0 ** find_op(node).attributes(node)["shift"] + bias.reshape(-1)
    return float((reach * scale.reshape(-1)).max())


def _c_float(value: float) -> str:
    """A float32 as C writes it."""
    return f"{float(np.float32(value))!r}f"


def _c_text(text: str) -> str:
    """A string as C writes it, byte by byte where it is not printable ASCII."""
    escaped = "".join(
        chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode()
    )
    return f'"{escaped}"'
