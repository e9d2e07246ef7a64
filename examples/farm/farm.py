"""Benchmarks on devices that many computers have: Ray runs each where its device hangs.

    ray start --head                                          # on one computer
    ray start --address HEAD:6379 --resources '{"pi4": 1}'    # on the one that device pi4 hangs on
    python farm.py devices.toml model.onnx

Each computer says which devices of the file it has; as there is one of each, a device runs one
benchmark at a time. All have hqc, and what their places need: keys for ssh, adb, emulators.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import ray

from hqc.bench.devices import Device, Outcome, read_devices
from hqc.bench.on import Job, Result, find_place
from hqc.bench.shown import table
from hqc.compiler import recordings_for
from hqc.data.recordings import Recording
from hqc.frontend.load import load_model


@ray.remote(num_cpus=0, max_retries=0)
def run(device: Device, name: str, model: bytes, recordings: list[Recording]) -> Result:
    """One model on one device, from the computer that has it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_bytes(model)
        job = Job(file, recordings, device.target, cpu=device.cpu)
        return find_place(device.on)(device.on, job)


def farm(file: Path, models: list[Path]) -> list[Outcome]:
    """Every model on every device of a file, on the cluster that Ray is connected to.

    A device that no computer has, or that fails, does not end the others.
    """
    listed, devices = read_devices(file)
    there, waiting, outcomes = ray.cluster_resources(), [], []
    for model in models or listed:
        recordings = recordings_for(model, load_model(model), None, 10)
        content = ray.put(model.read_bytes())
        for device in devices:
            if device.name not in there:
                missing = "no computer of the cluster says that it has it"
                outcomes.append(Outcome(str(model), device.name, error=missing))
                continue
            result = run.options(resources={device.name: 1}).remote(
                device, model.name, content, recordings
            )
            waiting.append((str(model), device.name, result))
    for name, device, result in waiting:
        try:
            outcomes.append(Outcome(name, device, ray.get(result)))
        except ray.exceptions.RayError as error:
            outcomes.append(Outcome(name, device, error=str(getattr(error, "cause", error))))
    return outcomes


if __name__ == "__main__":
    ray.init("auto")
    found = farm(Path(sys.argv[1]), [Path(model) for model in sys.argv[2:]])
    print(table(found))
    sys.exit(not all(outcome.ok for outcome in found))
