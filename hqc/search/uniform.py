"""One precision for every layer, after training: what searches are compared with."""

from __future__ import annotations

from torch import nn

from hqc.data.task import Task
from hqc.search.method import Options, method
from hqc.search.post_training import PostTraining
from hqc.search.run_folder import RunFolder


@method("uniform", ("8u",))
def uniform(model: nn.Module, task: Task, options: Options, run: RunFolder) -> dict:
    """Round every layer to the first of the choices, with scales as QSViT's."""
    search = PostTraining(model, task, options, run)
    return search.finish({name: choices[0] for name, choices in search.space.items()})
