"""Training in several processes under torchrun, with the results of one.

Every process draws the same batches and the same random numbers, computes its share of each batch,
and averages gradients (DistributedDataParallel). BatchNorm takes its statistics over all shares.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as across
from torch import Tensor, nn


def join() -> None:
    """Meet the other processes, where torchrun started any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")


def processes() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes files and speaks."""
    return not dist.is_initialized() or dist.get_rank() == 0


def wait() -> None:
    """Wait for all processes to come here."""
    if processes() > 1:
        dist.barrier()


def share(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """This process's part of a batch [T, N, ...] and its labels [N]; all parts are of one size.

    A batch that cannot be divided loses its last recordings.
    """
    if processes() == 1:
        return x, y
    whole = len(y) // processes() * processes()
    rank = dist.get_rank()
    return x[:, rank : whole : processes()], y[rank : whole : processes()]


def part(items: Sequence) -> Sequence:
    """This process's part of some work."""
    return items if processes() == 1 else items[dist.get_rank() :: processes()]


def total(value: float) -> float:
    """The sum of a number over all processes."""
    if processes() == 1:
        return value
    summed = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(summed)
    return float(summed)


def mean(value: float) -> float:
    """The mean of a number over all processes."""
    return total(value) / processes()


def parallel(model: nn.Module) -> nn.Module:
    """What to call in place of the model in training: itself, or its parallel form."""
    if processes() == 1:
        return model
    for module in model.modules():
        if type(module) in _SYNCHRONIZED:
            module.__class__ = _SYNCHRONIZED[type(module)]
    return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)


class _Synchronized(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over the shares of all processes; torch's own SyncBatchNorm runs on GPUs alone."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes = [0, *range(2, x.ndim)]
        count = x.numel() // x.shape[1] * processes()
        mean = across.all_reduce(x.sum(axes)) / count
        shape = [1, -1] + [1] * (x.ndim - 2)
        centered = x - mean.view(shape)
        variance = across.all_reduce(centered.square().sum(axes)) / count
        with torch.no_grad():
            unbiased = variance * count / max(count - 1, 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        y = centered * (variance + self.eps).rsqrt().view(shape)
        return y * self.weight.view(shape) + self.bias.view(shape)


class _Synchronized1d(_Synchronized, nn.BatchNorm1d):
    pass


class _Synchronized2d(_Synchronized, nn.BatchNorm2d):
    pass


_SYNCHRONIZED: dict[type, type] = {nn.BatchNorm1d: _Synchronized1d, nn.BatchNorm2d: _Synchronized2d}
