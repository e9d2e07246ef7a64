"""The folder of a search: what was asked for, metrics, checkpoints, result."""

from __future__ import annotations

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import torch

from hqc.errors import UserError
from hqc.post_training.folder import Folder
from hqc.search import distributed
from hqc.search.metrics import METRICS, read_metrics


class RunFolder(Folder):
    """Files of one search with training; each is written whole or not at all.

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
        self._tensorboard = tensorboard
        if tensorboard:
            _summary_writer()
        super().__init__(path, config, resume=resume, progress=progress)

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

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        """Let the first process write a file once all have come here, and all wait for it."""
        distributed.wait()
        if distributed.is_first():
            super()._write(name, write)
        distributed.wait()

    def log(self, stage: str, epoch: int, **metrics: object) -> None:
        """Add a line to the metrics; one of the same stage and epoch replaces what came after."""
        before = read_metrics(self.path) if (self.path / METRICS).exists() else []
        places = [(m["stage"], m["epoch"]) for m in before]
        if (stage, epoch) in places:
            before = before[: places.index((stage, epoch))]
        lines = [json.dumps(m) for m in (*before, {"stage": stage, "epoch": epoch, **metrics})]
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
        """Draw a picture of `hqc.search.plots` into the folder, in the first process."""
        if distributed.is_first():
            super().draw(name, picture, *found)

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
