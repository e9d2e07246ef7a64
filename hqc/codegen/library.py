"""A planned kernel model to a C library: header, entry, weights, objects."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
import onnx_ir as ir
import tvm

from hqc.codegen.compiler_routines import take_over
from hqc.codegen.footprint import Footprint
from hqc.codegen.interface import THREAD_FILES, Interface, render
from hqc.codegen.kept_functions import function_of
from hqc.codegen.kernels import (
    Constant,
    Input,
    KernelCall,
    Output,
    Scratch,
    State,
    Stride,
    find_kernel,
    is_each_calls_own,
)
from hqc.codegen.kernels.dotted_tiles import dot_bits
from hqc.codegen.kernels.listed_pixels import listing_on
from hqc.codegen.quantize_by_integers import quantize_by_integers
from hqc.codegen.tir import Objects
from hqc.codegen.toolchain import Toolchain
from hqc.dialect.layouts import ALIGNMENT, MOST_THREADS, alias_root, aligned, readout
from hqc.dialect.metadata import ARENA
from hqc.errors import OwnError, ToolError, UserError, in_short
from hqc.targets import Target

_CALLS_DEEP, _CALLS_DEEP_IN_PARTS = 4, 2
"""Functions of the entry file that may be active at once, above one kernel, and more by parts."""

_C_TYPES = {
    "float32": "float",
    "int8": "int8_t",
    "int16": "int16_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
}


def _check_instructions(node: ir.Node, target: Target) -> None:
    """Raise `UserError` for instructions that the target lacks: LLVM would end the process, or make
    code that does."""
    if "dot_bits" in node.attributes and node.attributes["dot_bits"].value != dot_bits(target.dots):
        raise UserError(
            f"node {node.name!r}: its products are those of another machine than {target.name}",
            hint=f"give choose-kernels dots={target.dots}",
        )
    listing = node.attributes["listing"].value if "listing" in node.attributes else "table"
    if listing not in ("table", listing_on(target.listing)):
        raise UserError(
            f"node {node.name!r}: its spikes are listed as on another machine than {target.name}",
            hint=f"give choose-kernels listing={target.listing}",
        )


@dataclass
class Library:
    """Everything that the files of a library are made from.

    `weight_bytes` counts the stored weight codes alone, without biases and thresholds. `footprint`
    is known once the objects are made.
    """

    name: str
    interface: Interface
    objects: Objects
    has_floats: bool = True
    prototypes: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    prepare: list[str] = field(default_factory=list)
    forward: list[str] = field(default_factory=list)
    readout: list[str] = field(default_factory=list)
    areas: dict[str, list[int]] = field(default_factory=lambda: {"run": [], "stream": []})
    weights: bytearray = field(default_factory=bytearray)
    weight_bytes: dict[str, int] = field(default_factory=dict)
    footprint: Footprint | None = None
    kernels: int = 0
    _symbols: dict[tuple, str] = field(default_factory=dict)
    _stored: dict[bytes, int] = field(default_factory=dict)
    _value_areas: dict[ir.Value, int] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ir.Model, name: str, target: Target) -> Library:
        """Emit every kernel of a model that plan-memory has run on.

        Raises `OwnError`, naming the node, for whatever a kernel stumbles over.
        """
        library = cls(name, Interface.of(model), Objects(target.tvm_target()), target.has_floats)
        try:
            library._emit(model, target)
        except BaseException:
            library.objects.cancel()
            raise
        return library

    def _emit(self, model: ir.Model, target: Target) -> None:
        after = readout(model.graph)
        for node in model.graph:
            if node.op_type == "Reshape":
                continue
            lines = self.readout if node in after else self.forward
            if node is self.interface.quantizer:
                lines = self.prepare
            try:
                _check_instructions(node, target)
                call = find_kernel(node)(node, target.vector_bits > 0)
                self._add(model.graph, node, call, lines)
            except (UserError, MemoryError):
                raise
            except Exception as error:
                raise OwnError(
                    f"the kernel of node {node.name!r} ({node.op_type}) failed: {in_short(error)}",
                    "this is a fault of hqc: please report it with the model",
                ) from error

    def _add(self, graph: ir.Graph, node: ir.Node, call: KernelCall, lines: list[str]) -> None:
        symbol = self._symbols.get(call.key)
        if symbol is None:
            symbol = f"{self.name}_kernel_{len(self._symbols)}"
            self._symbols[call.key] = symbol
            if node.op_type == "QuantizeFrames" and not self.has_floats:
                self.prototypes.append(quantize_by_integers(node, symbol))
            else:
                shared = self.interface.threads > 1
                function = function_of(call, whole=not shared)
                self.objects.add(symbol, function)
                types = ", ".join(c_types(function, call))
                self.prototypes.append(f"/* {node.op_type} */\nvoid {symbol}({types});")
        plan = json.loads(node.metadata_props[ARENA])
        if plan["bytes"] != [o.size for o in call.operands if isinstance(o, Scratch | State)]:
            raise UserError(
                f"node {node.name!r}: its memory was planned for a target with other vectors",
                hint="give plan-memory the target's vector_bits, 0 for one without vectors",
            )
        areas = iter(
            self._area({"run": run, "stream": stream})
            for run, stream in zip(plan["run"], plan["stream"], strict=True)
        )
        steps = node.inputs[0].shape.numpy()[0]
        if lines is self.forward and steps != graph.inputs[0].shape.numpy()[0]:
            raise ValueError(f"it reads {steps} time steps before the last one")
        in_parts = self.interface.threads > 1 and call.rows > 1
        arguments = []
        for operand in call.operands:
            match operand:
                case Input(index):
                    arguments.append(self._value(graph, alias_root(node.inputs[index])))
                case Output() if node is self.interface.quantizer:
                    arguments.append(self._at(node.outputs[0]))
                case Output():
                    arguments.append(self._value(graph, node.outputs[0]))
                case Constant():
                    arguments.append(f"DATA({self._store(node, operand)})")
                case Scratch(size) | State(size) if in_parts and is_each_calls_own(operand, True):
                    own = "OWN" if isinstance(operand, Scratch) else "POTENTIALS"
                    arguments.append(f"{own}({next(areas)}, {aligned(size)}u)")
                case Scratch() | State():
                    arguments.append(f"AREA({next(areas)})")
                case Stride(elements):
                    arguments.append(f"streams * {elements}")
        begin = "t_begin" if lines is self.forward else "0"
        arguments += [begin, f"{steps}" if lines is self.readout else "steps"]
        if call.rows and self.interface.threads > 1:
            arguments.append("part, parts" if in_parts else "0, 1")
        text = f"{symbol}({', '.join(arguments)});"
        if in_parts:
            task = f"part_of_{self.kernels}"
            self.tasks.append(_TASK.format(task=task, call=text))
            text = f"in_parts(&all, {task}, {call.rows});"
        lines.append(f"    TRACE({self.kernels}); /* {in_comment(node.name)} */\n    {text}")
        self.kernels += 1

    def _area(self, offsets: dict[str, int]) -> int:
        for plan, offset in offsets.items():
            self.areas[plan].append(offset)
        return len(self.areas["run"]) - 1

    def _value(self, graph: ir.Graph, value: ir.Value) -> str:
        codes = self.interface.quantizer
        if value in graph.inputs or (codes is not None and value is codes.outputs[0]):
            return "frames"  # of the function that it stands in: floats, or their codes
        if value in graph.outputs:
            return "logits"
        return self._at(value)

    def _at(self, value: ir.Value) -> str:
        """The area of a value, as C."""
        if value not in self._value_areas:
            self._value_areas[value] = self._area(json.loads(value.metadata_props[ARENA]))
        return f"AREA({self._value_areas[value]})"

    def _store(self, node: ir.Node, constant: Constant) -> int:
        data = constant.array.tobytes()
        offset = self._stored.get(data)
        if offset is None:
            self.weights += bytes(-len(self.weights) % ALIGNMENT)
            offset = self._stored[data] = len(self.weights)
            self.weights += data
        if constant.is_weights:
            self.weight_bytes[node.name] = constant.array.nbytes
        return offset

    def write(self, target: Target, toolchain: Toolchain, folder: Path) -> None:
        """Write header, C entry, weights and `libNAME.a`; on the host `NAME.so` too."""
        self.weights += bytes(-len(self.weights) % ALIGNMENT)
        codes = self.interface.quantizer
        frames_area = self._value_areas[codes.outputs[0]] if codes else None
        given = "frames" if frames_area is None else f"AREA({frames_area})"
        threads = self.interface.threads
        begin = [_ALL.format(text) for text in _GIVEN] if threads > 1 else ["", ""]
        values = {
            "target": target.name,
            "weights_size": len(self.weights),
            "weights_words": len(self.weights) // 4,
            "weights_hash": weights_hash(bytes(self.weights)),
            "hash_factor": _HASH_FACTOR,
            "prototypes": "\n".join(self.prototypes),
            "run_areas": ", ".join(map(str, self.areas["run"])),
            "step_areas": ", ".join(map(str, self.areas["stream"])),
            "prepare": "\n".join([*self.prepare, f"    return {given};"]),
            "forward": begin[0] + "\n".join(self.forward),
            "readout": begin[1] + "\n".join([*self.readout, f"    TRACE({self.kernels});"]),
            "most_threads": MOST_THREADS,
            "tasks": "\n".join(self.tasks),
            **self.interface.values(self.name, frames_area),
            **Footprint().values(),
        }
        values["parts"] = render("parts.c.in", values) if threads > 1 else ""
        for template, file in (
            ("model.h.in", f"{self.name}.h"),
            ("model.hpp.in", f"{self.name}.hpp"),
            ("weights.S.in", f"{self.name}_weights.S"),
            ("runner.c.in", f"{self.name}_runner.c"),
            ("config.cmake.in", f"{self.name}Config.cmake"),
            ("config_version.cmake.in", f"{self.name}ConfigVersion.cmake"),
            ("model.pc.in", f"{self.name}.pc"),
            ("hqc.h.in", "hqc.h"),
            ("hqc.hpp.in", "hqc.hpp"),
        ):
            (folder / file).write_text(render(template, values))
        for file in THREAD_FILES if threads > 1 else ():
            (folder / file).write_text(render(f"{file}.in", values))
        parts = ["model.c.in"]
        parts += ["threads.c.in"] if threads > 1 else []
        parts += ["bytes.c.in"] if self.interface.quantizer else []
        parts += ["image.c.in"] if self.interface.takes_images else []
        parts += ["events.c.in"] if self.interface.takes_events else []
        (folder / f"{self.name}.c").write_text("".join(render(p, values) for p in parts))
        (folder / f"{self.name}_weights.bin").write_bytes(self.weights)
        objects = [
            f"{self.name}_kernels.o",
            toolchain.compile(f"{self.name}.c", folder),
            toolchain.compile(f"{self.name}_weights.S", folder),
        ]
        try:
            parts = self.objects.write(folder)
        except (UserError, OSError, MemoryError):
            raise
        except Exception as error:  # TVM's own kinds, and LLVM's
            raise ToolError(
                f"LLVM does not compile for target {target.name}: {in_short(error)}",
                hint="check the 'llvm' line of a target of your own; report one of hqc's",
            ) from error
        toolchain.join(parts, objects[0], folder)
        objects += take_over(objects[:2], self.name, toolchain, folder)
        for made in objects[1:] if toolchain.is_bare else []:
            toolchain.join([made], made, folder)
        kernels, entry, _, *routines = (folder / o for o in objects)
        deep = _CALLS_DEEP + (_CALLS_DEEP_IN_PARTS if threads > 1 else 0)
        self.footprint = Footprint.of(entry, [kernels, *routines], len(self.weights), deep)
        values |= self.footprint.values()
        (folder / f"{self.name}.h").write_text(render("model.h.in", values))
        toolchain.archive(objects, f"lib{self.name}.a", folder)
        if target.is_host:
            pool = [toolchain.compile("hqc_pthread.c", folder)] if threads > 1 else []
            toolchain.share([*objects, *pool], f"{self.name}.so", folder, ["-pthread"] * len(pool))
            objects += pool
        for made in (*objects, f"{self.name}_weights.S", f"{self.name}_weights.bin"):
            (folder / made).unlink()


def c_types(function: tvm.tirx.PrimFunc, call: KernelCall) -> list[str]:
    """The C types of a PrimFunc's parameters; what the kernel only reads is const."""
    types = []
    for parameter, operand in zip_longest(function.params, call.operands):
        if isinstance(parameter.ty, tvm.ir.PointerType):
            const = "const " if isinstance(operand, Input | Constant) else ""
            types.append(f"{const}{_C_TYPES[str(parameter.ty.element_type.dtype)]} *")
        else:
            types.append(_C_TYPES[str(parameter.ty.dtype)])
    return types


_TASK = """static void {task}(void *given, int32_t part, int32_t parts)
{{
    PART_OF(given);
    {call}
}}
"""

_ALL = "    call all = {{&model->team, arena, area, {}}};\n    (void)all;\n"
_GIVEN = "frames, NULL, t_begin, steps, streams", "NULL, logits, 0, 0, streams"
"""What parts share, in forward and in readout."""


def in_comment(text: str) -> str:
    """A text as it may stand in a comment of C: nothing in it ends or begins one."""
    return re.sub(r"[^\w .:/+-]", "_", text, flags=re.ASCII)


_HASH_FACTOR = 0x9E3779B1
"""Odd, so that a change of any one word changes the hash."""


def weights_hash(data: bytes) -> int:
    """The 32-bit hash that the library checks its weights with: whole words, little-endian.

    The hash of words w is the sum of w_i * factor^(n - i), modulo 2^32.
    """
    words = np.frombuffer(data, "<u4")
    powers = np.cumprod(np.full(words.size, _HASH_FACTOR, np.uint32), dtype=np.uint32)
    return int((words * powers[::-1]).sum(dtype=np.uint32))
