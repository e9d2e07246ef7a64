"""The folder of a search: what was asked for, metrics, checkpoints, result."""

from __future__ import annotations

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import torch

from hqc.atomic_files import replacing
from hqc.errors import UserError
from hqc.search import distributed
from hqc.search.metrics import METRICS, read_metrics
from hqc.search.results import CONFIG


class RunFolder:
    """Files of one search; each is written whole or not at all.

    `config.json` what was asked for, `metrics.jsonl` one line an epoch, `STAGE.pt` the weights
    that a finished stage left, `checkpoint.pt` the stage under way, `recipe.json`, `result.json`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        config: dict,
        *,
        resume: bool = False,
        tensorboard: bool = False,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.path, self.progress, self._tensorboard = Path(path), progress, tensorboard
        if tensorboard:
            _summary_writer()
        there = self.path / CONFIG
        if resume:
            if not there.exists():
                raise UserError(f"{path} holds no search to resume")
            before = json.loads(there.read_text())
            changed = [k for k in config if before.get(k) != config[k]]
            if changed:
                raise UserError(
                    f"{path} was searched with other options: {', '.join(changed)}",
                    hint=f"resume with those in {there}, or start anew in another folder",
                )
            return
        if self.path.exists() and any(self.path.iterdir()):
            raise UserError(
                f"{path} is not empty", hint="continue with --resume, or choose another folder"
            )
        distributed.wait()
        if distributed.is_first():
            self.path.mkdir(parents=True, exist_ok=True)
        self.write_json(CONFIG, config)

    @staticmethod
    def float_weights(path: str | PathLike[str]) -> dict:
        """The weights that a run's float training left. Raises `UserError` where it did not."""
        file = Path(path, "float.pt")
        if not file.exists():
            raise UserError(
                f"{path} holds no float network",
                hint="give the folder of a search that trained one",
            )
        return torch.load(file, map_location="cpu", weights_only=True)

    def write_json(self, name: str, data: object) -> None:
        """Write a JSON file."""
        self._write(name, lambda file: file.write_text(json.dumps(data, indent=2) + "\n"))

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        """Let the first process write a file, and all wait for it."""
        if distributed.is_first():
            with replacing(self.path / name) as file:
                write(file)
        distributed.wait()

    def log(self, stage: str, epoch: int, **metrics: object) -> None:
        """Add a line to the metrics; one of the same stage and epoch replaces what came after."""
        before = read_metrics(self.path) if (self.path / METRICS).exists() else []
        places = [(m["stage"], m["epoch"]) for m in before]
        if (stage, epoch) in places:
            before = before[: places.index((stage, epoch))]
        lines = [json.dumps(m) for m in (*before, {"stage": stage, "epoch": epoch, **metrics})]
        distributed.wait()
        self._write(METRICS, lambda file: file.write_text("\n".join(lines) + "\n"))
        if self._tensorboard and distributed.is_first():
            with _summary_writer()(str(self.path / "tensorboard" / stage)) as writer:
                for name, value in metrics.items():
                    if isinstance(value, float):
                        writer.add_scalar(name, value, epoch)

    def save(self, name: str, state: dict) -> None:
        """Write `NAME.pt`."""
        self._write(f"{name}.pt", lambda file: torch.save(state, file))

    def draw(self, name: str, picture: Callable, *found: object) -> None:
        """Draw a picture of `hqc.search.plots` into the folder."""
        if distributed.is_first():
            picture(*found, self.path / name)

    def load(self, name: str) -> dict | None:
        """Read `NAME.pt`, None where there is none."""
        file = self.path / f"{name}.pt"
        return torch.load(file, map_location="cpu", weights_only=True) if file.exists() else None


def _summary_writer() -> Callable:
    """TensorBoard's writer. Raises `UserError` where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "--tensorboard needs TensorBoard", hint="pip install tensorboard, or leave it out"
        ) from None
    return SummaryWriter
