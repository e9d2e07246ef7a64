"""Files of devices: models, and where to run them, in TOML.

models = ["nmnist/model.onnx"]     # from the file's folder; may be left to the command line

[devices.pi4]
on = "ssh://pi@raspberrypi.local"  # a place, as after --on
target = "arm-a72"                 # these two may be left out
cpu = 3
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hqc.bench.on.place import Job, Result, find_place
from hqc.errors import UserError
from hqc.regular_files import read_file
from hqc.targets import load_target

_LARGEST_FILE = 1 << 20
_KINDS = {"on": str, "target": str, "cpu": int}


@dataclass(frozen=True)
class Device:
    """A device by its name, and the place that `on` says."""

    name: str
    on: str
    target: str | None = None
    cpu: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of running a model on a device: a result, or why there is none."""

    model: str
    device: str
    result: Result | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it ran, and all logits were equal."""
        return self.result is not None and self.result.equal == self.result.recordings

    def as_dict(self) -> dict:
        """Everything, as JSON stores it."""
        said = {"error": self.error} if self.result is None else self.result.as_dict()
        return {"model": self.model, "device_name": self.device, **said}


def read_devices(path: Path) -> tuple[list[Path], list[Device]]:
    """The models and devices of a file. Raises `UserError` for whatever it should not say."""
    try:
        said = tomllib.loads(read_file(path, _LARGEST_FILE).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}", hint="see docs/benchmarks.md") from None
    models, devices = said.pop("models", []), said.pop("devices", {})
    if said:
        raise _wrong(path, f"knows no {', '.join(map(repr, said))}")
    if not (isinstance(models, list) and all(isinstance(m, str) for m in models)):
        raise _wrong(path, "says no list of files as models")
    if not (isinstance(devices, dict) and devices):
        raise _wrong(path, "names no devices")
    return [path.parent / m for m in models], [_device(path, *item) for item in devices.items()]


def _wrong(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} {what}",
        hint='it says models = ["model.onnx"], and for each device [devices.NAME], on = "PLACE", '
        'and if need be target = "TARGET", cpu = NUMBER',
    )


def _device(path: Path, name: str, said: object) -> Device:
    if not (isinstance(said, dict) and "on" in said):
        raise _wrong(path, f"does not say where the device {name!r} is")
    for key, value in said.items():
        if type(value) is not _KINDS.get(key):
            raise _wrong(path, f"says of the device {name!r} that {key} = {value!r}")
    find_place(said["on"])
    if "target" in said:
        load_target(said["target"])
    return Device(name, **said)


def run_on_devices(
    jobs: Sequence[Callable[[], Job]], names: Sequence[str], devices: Sequence[Device]
) -> Iterator[Outcome]:
    """Run every job on every device; what fails says so, and ends no other.

    `jobs` make a job each, of the model that `names` names; making one may fail, too.
    """
    for name, make in zip(names, jobs, strict=True):
        for device in devices:
            try:
                job = make()
                job = replace(
                    job,
                    target=device.target or job.target,
                    cpu=job.cpu if device.cpu is None else device.cpu,
                    progress=_prefixed(f"{device.name}: ", job.progress),
                )
                yield Outcome(name, device.name, find_place(device.on)(device.on, job))
            except UserError as error:
                hint = f" ({error.hint})" if error.hint else ""
                yield Outcome(name, device.name, error=f"{error.message}{hint}")


def _prefixed(prefix: str, progress: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: progress(prefix + text)
