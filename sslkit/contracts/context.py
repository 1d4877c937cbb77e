"""Runtime facts that a component receives in its constructor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed
from torch import Tensor


class World:
    """The processes that train together. This base class is a world of one process.

    All methods are collective: every process must call them in the same order, with tensors of equal shape.

    Example: the mean of a ``[B, E]`` tensor over the global batch, with gradient::

        context.world.gather(embedding).mean(0)

    Attributes:
        rank: int, index of this process, from 0.
        size: int, number of processes.
    """

    rank: int = 0
    size: int = 1

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the ``[B, ...]`` of all processes to ``[size * B, ...]``, in rank order; differentiable."""
        return tensor

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes; differentiable."""
        return tensor

    def max(self, tensor: Tensor) -> Tensor:
        """Return the elementwise maximum over all processes, detached."""
        return tensor.detach()


class DistributedWorld(World):
    """World of the default ``torch.distributed`` process group, which must be initialised."""

    def __init__(self) -> None:
        self.rank = torch.distributed.get_rank()
        self.size = torch.distributed.get_world_size()

    def gather(self, tensor: Tensor) -> Tensor:
        joined: Tensor = _Gather.apply(tensor, self.rank, self.size)
        return joined

    def sum(self, tensor: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(tensor)
        return total

    def max(self, tensor: Tensor) -> Tensor:
        result = tensor.detach().clone()
        torch.distributed.all_reduce(result, op=torch.distributed.ReduceOp.MAX)
        return result


class _Sum(torch.autograd.Function):
    """All-reduce whose gradient is the sum of the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is the sum of the gradients of all processes, for this process's rows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rank: int, size: int) -> Tensor:
        ctx.rows = slice(rank * len(tensor), (rank + 1) * len(tensor))
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(size)]
        torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Sum.forward(ctx, gradient)[ctx.rows], None, None


@dataclass(frozen=True)
class Context:
    """Facts about the run that a component can use in its constructor.

    sslkit builds components in the order data set, views, backbone, heads, losses, method, optimizer. A fact is set
    once the component that determines it is built; before that it has its default.

    Attributes:
        channels: int, channels C of the images.
        image_size: int, shorter side of the stored images in pixels.
        mean: tuple of C floats in [0, 1], per-channel mean of the training images.
        std: tuple of C floats in [0, 1], per-channel standard deviation of the training images.
        batch_size: int, images in a global batch, over all processes.
        steps_per_epoch: int, optimizer steps in an epoch.
        epochs: int, epochs of the training.
        seed: int, seed of the run.
        world: the processes that train together.
        view_size: int, side of a global view in pixels. Set from the backbone on.
        view_sizes: tuple of int, the side of the views of each group in pixels, global groups first. Set from the
            backbone on; empty when a trained network is loaded.
        view_count: int, views of each image. Set from the backbone on.
        global_view_count: int, how many of these views are global. Set from the backbone on.
        feature_dim: int, length D of a backbone feature. Set from the heads on.
        embedding_dim: int, length E of an embedding of the head that a loss reads. Set for losses.
        classifiers: tuple of int, the number of classes K of each classifier of that head; empty without classifiers.
            Set for losses.
        restoring: bool, whether trained weights are loaded right after construction. A component then need not
            download pretrained weights.
        steps_before: int, optimizer steps of the earlier runs that this run continues. Batches and views differ from
            those of the earlier runs.
        step_offset: int, optimizer steps taken minus the ``step`` that components receive. It is 0 unless the run was
            resumed with another batch size or number of images: ``step`` then follows the trained epochs. A duration of
            300 optimizer steps ends at step ``300 - step_offset``.
    """

    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch_size: int
    steps_per_epoch: int
    epochs: int
    seed: int = 0
    world: World = field(default_factory=World)
    view_size: int = 0
    view_sizes: tuple[int, ...] = ()
    view_count: int = 0
    global_view_count: int = 0
    feature_dim: int = 0
    embedding_dim: int = 0
    classifiers: tuple[int, ...] = ()
    restoring: bool = False
    steps_before: int = 0
    step_offset: int = 0

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the training: ``steps_per_epoch * epochs``."""
        return self.steps_per_epoch * self.epochs
