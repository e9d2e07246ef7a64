"""hqc doctor."""

from __future__ import annotations

import platform
import shlex
import shutil
from importlib.metadata import PackageNotFoundError, version

from hqc.cli.application import Output, cli, output_options

_PACKAGES = {
    "apache-tvm": "pip install hqc",
    "onnx": "pip install hqc",
    "onnx-ir": "pip install hqc",
    "onnxruntime": "pip install hqc",
    "numpy": "pip install hqc",
    "lark": "pip install hqc",
    "ziglang": "pip install hqc",
    "torch": "pip install hqc[train], to train, search and export",
    "onnxscript": "pip install hqc[train], to search and export",
}

_DEVICE_TOOLS = {
    "ssh": "apt install openssh-client, for hqc bench --on ssh://HOST",
    "adb": "apt install adb, for hqc bench --on adb",
}
"""What devices are reached by."""


@cli.command("doctor")
@output_options
def doctor(out: Output) -> None:
    """Say what is installed, what is missing, and how to get it.

    \b
    Examples:
      hqc doctor
      hqc doctor --json
    """
    from hqc.emulator import debian_package
    from hqc.targets import load_target, target_names

    rows = [("python", platform.python_version(), ""), ("machine", platform.machine(), "")]
    for package, remedy in _PACKAGES.items():
        try:
            rows.append((package, version(package), ""))
        except PackageNotFoundError:
            rows.append((package, "", remedy))
    rows.append(("cc", shutil.which("cc") or "", "not needed: zig cc serves for the host too"))
    for command, remedy in _DEVICE_TOOLS.items():
        rows.append((command, shutil.which(command) or "", remedy))
    for name in target_names():
        emulator = load_target(name).emulate
        if emulator:
            command = shlex.split(emulator)[0]
            found = shutil.which(command)
            remedy = f"apt install {debian_package(command)}, to verify this target here"
            rows.append((f"emulator of {name}", found or "", remedy))
    width = max(len(name) for name, _, _ in rows)
    out.result(
        [{"name": n, "found": f or None, "remedy": None if f else r} for n, f, r in rows],
        "\n".join(f"{n:{width}}  {f or 'missing: ' + r}" for n, f, r in rows),
    )
