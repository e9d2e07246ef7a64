"""The machine that a suite runs on, and the versions that times depend on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hqc.bench.on.linux import compiler_version
from hqc.targets import load_target
from hqc.threads import usable_cores
from hqc.version import VERSION

_PACKAGES = (
    "apache-tvm",
    "executorch",
    "numpy",
    "onnxruntime",
    "openvino",
    "spikingjelly",
    "torch",
)


def describe_machine(cc: str | None = None) -> dict:
    """Processor, how many cores this process may use, memory, and versions."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^(?:model name|Hardware)\s*: (.*)", cpuinfo, re.MULTILINE)
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": found[1] if found else platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "memory_bytes": pages * page,
        "system": platform.platform(),
        "python": platform.python_version(),
        "hqc": VERSION,
        "compiler": compiler_version(load_target("host"), cc),
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
