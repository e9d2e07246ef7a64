"""Place: this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from hqc.bench.on.linux import bench_on, call
from hqc.bench.on.place import Job, Result, place


class _Host:
    folder = tempfile.gettempdir()
    elsewhere = "TMPDIR=FOLDER hqc bench ..."
    product: str | None = None

    def shell(self, command: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return call(["sh", "-c", command], seconds)

    def put(self, file: Path, path: str) -> subprocess.CompletedProcess[str]:
        shutil.copyfile(file, path)
        return subprocess.CompletedProcess([], 0, "", "")


@place("host", "host")
def run(name: str, job: Job) -> Result:
    """The same program as on other devices."""
    return bench_on(_Host(), name, replace(job, target=job.target or "host"))
