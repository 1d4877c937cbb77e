"""Runtime facts that reach a component through its constructor, never through globals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed
from torch import Tensor


class World:
    """The processes that train together; this base is the world of a single process.

    All methods are collective: every process calls them in the same order with tensors of the same shape.
    """

    rank: int = 0
    size: int = 1

    def gather(self, tensor: Tensor) -> Tensor:
        """Join ``[B, ...]`` of every process to ``[size * B, ...]``, in rank order; differentiable."""
        return tensor

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a tensor over all processes; differentiable."""
        return tensor

    def max(self, tensor: Tensor) -> Tensor:
        """The elementwise maximum over all processes; detached."""
        return tensor.detach()


class DistributedWorld(World):
    """The processes of the default ``torch.distributed`` group, which must be initialised."""

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
    """Each process's value is part of every process's sum, so their gradients add up."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


class _Gather(torch.autograd.Function):
    """The same for rows."""

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
    """What is known when a component is built.

    Components are built in the order dataset, views, backbone, heads, losses, method, optimizer; each sees what the
    ones before it settled.

    Attributes:
        channels: channels of the images, C.
        image_size: shorter side of the stored images in pixels.
        mean: per-channel mean of the training images, in 0..1.
        std: per-channel standard deviation of the training images, in 0..1.
        batch_size: images in one global batch, over all processes.
        steps_per_epoch: optimizer steps in one epoch.
        epochs: epochs of the whole training.
        seed: the run's seed.
        world: the processes that train together.
        view_size: side of a global view in pixels (from the backbone on).
        view_count: number of views of one image (from the backbone on).
        global_view_count: how many of these are global.
        feature_dim: D, length of the backbone's feature (from the heads on).
        embedding_dim: E, length of the head's embedding (for a loss: of its head).
        classifiers: K of each classifier of the head (for a loss: of its head); empty where it has none.
        restoring: trained weights are loaded as soon as everything is built: none need be fetched.
        steps_before: optimizer steps of the runs that this one continues; its batches and views are others than theirs.
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
    view_count: int = 0
    global_view_count: int = 0
    feature_dim: int = 0
    embedding_dim: int = 0
    classifiers: tuple[int, ...] = ()
    restoring: bool = False
    steps_before: int = 0

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.steps_per_epoch * self.epochs
