"""Compile the example for this machine, and run it on the recordings beside it.

    python examples/nmnist/demo.py          # from anywhere; make demo does this

Prints each command before its output; the commands are the ones a user types.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

COMMANDS = (
    "hqc run examples/nmnist/fp32.onnx examples/nmnist/sample --summary",
    "hqc run examples/nmnist/model.onnx examples/nmnist/sample --summary",
    "hqc compile examples/nmnist/model.onnx --target host -o build-host",
    "hqc run build-host examples/nmnist/sample --summary",
    "hqc run build-host examples/nmnist/sample/3/60031.bin",
    "hqc compile examples/nmnist/model.onnx --target arm-a72 -o build-arm",
)


def main() -> int:
    """Run the commands; stop at the first that fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in COMMANDS:
        print(f"$ {command}", flush=True)
        done = subprocess.run(
            shlex.split(command), cwd=ROOT, env={**os.environ, "PATH": path}, check=False
        )
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
