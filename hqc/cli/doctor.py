"""hqc doctor."""

from __future__ import annotations

import platform
import shlex
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from hqc.cli.application import Output, cli, output_options
from hqc.extras import INSTALLED_BY, WAYS_IN

_PACKAGES = {
    "apache-tvm": "pip install hqc",
    "onnx": "pip install hqc",
    "onnx-ir": "pip install hqc",
    "onnxruntime": "pip install hqc",
    "numpy": "pip install hqc",
    "lark": "pip install hqc",
    "ziglang": "pip install hqc",
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
    ways = list(_ways_in())
    tables = [_table(rows), "", "Ways in", _table(ways)]
    rows += [(f"way in: {name}", found, remedy) for name, found, remedy in ways]
    out.result(
        [{"name": n, "found": f or None, "remedy": None if f else r} for n, f, r in rows],
        "\n".join(tables),
    )


def _table(rows: list[tuple[str, str, str]]) -> str:
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(f"{n:{width}}  {f or 'missing: ' + r}" for n, f, r in rows)


def _ways_in() -> Iterator[tuple[str, str, str]]:
    """What each way in needs: the versions that are there, or how to install what is not."""
    for way, needed in WAYS_IN.items():
        found, missing = [], []
        for package in needed:
            try:
                found.append(f"{package} {version(package)}")
            except PackageNotFoundError:
                missing.append(package)
        remedy = ", ".join(dict.fromkeys(INSTALLED_BY[package] for package in missing))
        there = "" if missing else ", ".join(found) or "nothing more is needed"
        yield way, there, f"{' and '.join(missing)}: {remedy}"
