"""Tuning records: a file that says what each kernel took for a layer, and which one is chosen.

A layer is known by what it computes and how often its inputs fire, not by its name, so that one
file serves every model with such layers. Files are sorted, a layer a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from hqc.atomic_files import replacing
from hqc.dialect.metadata import LISTED, RATE
from hqc.errors import UserError
from hqc.kernel_figures import unit_of
from hqc.regular_files import read_file
from hqc.targets import Target

_FORMAT = 1
_LARGEST = 64 << 20
_ANEW = "remove it, or name another file: layers that it lacks are measured anew"


@dataclass(frozen=True)
class Record:
    """What was measured for a layer, by kernel, in the file's unit; and the kernel that it gets."""

    kernel: str
    measured: Mapping[str, int]


def layer_key(node: ir.Node, threads: int) -> str:
    """What a layer of spikes was measured as, by so many threads, as a line of JSON."""
    rates = node.inputs[0].metadata_props
    said = {
        "op": node.op_type,
        "input": list(node.inputs[0].shape.numpy()),
        "weights": list(node.inputs[1].shape.numpy()),
        "output": list(node.outputs[0].shape.numpy()),
        **{n: node.attributes[n].value for n in ("pads", "strides")},
        **{n: node.attributes[n].value for n in ("weight_bits", "weight_scheme")},
        **{
            name: round(float(rates[key]), 3) if key in rates else None
            for name, key in (("rate", RATE), ("listed", LISTED))
        },
        "threads": threads,
    }
    return json.dumps(said, sort_keys=True)


class TuningRecords:
    """Records of a target's layers, by their keys, and the file that keeps them."""

    def __init__(self, file: Path, target: Target) -> None:
        """Read a file, which need not exist yet.

        Raises `UserError` for one that hqc did not write so, and for one of another target or unit,
        or of this target with other settings.
        """
        self._file = file
        self._header = {
            "format": _FORMAT,
            "target": target.name,
            "llvm": target.llvm,
            "vector_bits": target.vector_bits,
            "optimize": target.optimize,
            "unit": unit_of(target),
        }
        self._records: dict[str, Record] = {}
        if not file.exists():
            return
        try:
            header, self._records = _read(json.loads(read_file(file, _LARGEST)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(f"{file} holds no tuning records of hqc's", hint=_ANEW) from None
        for name, here in self._header.items():
            if header.get(name) != here:
                raise UserError(
                    f"{file}: its records are of {name} {_shown(header.get(name))}, "
                    f"not {_shown(here)}",
                    hint=_ANEW,
                )

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __getitem__(self, key: str) -> Record:
        return self._records[key]

    def add(self, measured: Mapping[str, Mapping[str, int]]) -> None:
        """Choose the least of what was measured for each layer, by kernel, and write the file."""
        self._records |= {
            key: Record(min(figures, key=figures.__getitem__), figures)
            for key, figures in measured.items()
        }
        with replacing(self._file) as temporary:
            temporary.write_text("\n".join(self._lines()))

    def _lines(self) -> Iterator[str]:
        yield "{"
        for name, value in self._header.items():
            yield f"  {json.dumps(name)}: {json.dumps(value)},"
        yield '  "layers": ['
        rows = [
            f'    {{"layer": {key}, "kernel": {json.dumps(record.kernel)}, '
            f'"measured": {json.dumps(record.measured, sort_keys=True)}}}'
            for key, record in sorted(self._records.items())
        ]
        yield ",\n".join(rows)
        yield "  ]"
        yield "}\n"


def _read(found: dict) -> tuple[dict, dict[str, Record]]:
    """The header and the records of a file's content."""
    layers = found.pop("layers")
    records = {json.dumps(row["layer"], sort_keys=True): _record(row) for row in layers}
    if len(records) != len(layers):
        raise ValueError("a layer is there twice")
    return found, records


def _record(row: dict) -> Record:
    kernel, measured = row["kernel"], row["measured"]
    if kernel not in measured or not all(type(figure) is int for figure in measured.values()):
        raise ValueError("a kernel that was not measured, or by no number")
    return Record(kernel, measured)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
