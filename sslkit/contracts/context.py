"""Description of the training run that a component receives in its constructor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from sslkit.contracts.preprocessing import Interpolation


class World:
    """The processes of a distributed training run. This base class is a world of one process.

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
        """Return the tensors ``[B, ...]`` of all processes as ``[size * B, ...]``, in order of rank; differentiable."""
        return tensor

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; differentiable."""
        return tensor

    def max(self, tensor: Tensor) -> Tensor:
        """Return the elementwise maximum of a tensor over all processes, without gradient."""
        return tensor.detach()


class DistributedWorld(World):
    """World with the processes of the default ``torch.distributed`` process group, which must be initialised."""

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
    """Sum over all processes; the backward pass sums the incoming gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


class _Gather(torch.autograd.Function):
    """All-gather; the backward pass sums the incoming gradients of all processes and returns this process's rows."""

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
    """Description of the training run, such as image size, seed and processes, for the constructors of components.

    sslkit builds components in the order data set, views, backbone, heads, losses, method, optimizer. Attributes that
    depend on a component have their default values until that component is built.

    Attributes:
        channels: int, number of channels C of the images.
        image_size: int, shorter side of the stored images in pixels; with pretrained weights, the image size that the
            weights were trained with.
        mean: tuple of C floats in [0, 1], per-channel mean of the training images; with pretrained weights, the mean
            that the weights were trained with.
        std: tuple of C floats in [0, 1], per-channel standard deviation of the training images; with pretrained
            weights, the standard deviation that the weights were trained with.
        interpolation: ``"bilinear"`` or ``"bicubic"``, used to resize unaugmented images.
        training_images: int, number of training images.
        batch_size: int, number of images in a global batch, over all processes.
        steps_per_epoch: int, number of optimizer steps in an epoch.
        epochs: int, number of epochs of the training run.
        seed: int, seed of the run.
        world: the processes of the training run.
        view_size: int, side of a global view in pixels. Known to the backbone and later components.
        view_sizes: tuple of int, side of the views of each group in pixels, global groups first. Known to the backbone
            and later components; empty when a trained network is loaded.
        view_count: int, number of views of each image. Known to the backbone and later components.
        global_view_count: int, number of global views of each image. Known to the backbone and later components.
        feature_dim: int, length D of a backbone feature. Known to heads and later components.
        embedding_dim: int, length E of the embeddings of the head that a loss reads. Known to losses only.
        classifiers: tuple of int, the number of classes K of each classifier of the head that a loss reads; empty
            if the head has none. Known to losses only.
        restoring: bool, whether trained weights are loaded right after construction. If so, a component should not
            download pretrained weights.
        steps_before: int, number of optimizer steps in the earlier runs that this run continues (``--continue-from``).
            The number changes the random seeds, so that batches and views differ from those of the earlier runs.
        step_offset: int, optimizer steps taken minus the ``step`` that components receive. The offset is 0 unless the
            run was resumed with a different batch size or number of images. From then on, ``step`` is the number of
            trained epochs times the new number of steps per epoch. A duration of 300 optimizer steps ends at step
            ``300 - step_offset``.
    """

    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch_size: int
    steps_per_epoch: int
    epochs: int
    seed: int = 0
    interpolation: Interpolation = "bilinear"
    training_images: int = 0
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
        """Number of optimizer steps of the training run: ``steps_per_epoch * epochs``."""
        return self.steps_per_epoch * self.epochs

    def own_images(self, values: Tensor) -> Tensor:
        """Return the rows of this process's images, from a tensor ``[batch_size, ...]`` for the global batch.

        Example, for random numbers that do not depend on the number of processes::

            context.own_images(torch.rand(context.batch_size, generator=generator))
        """
        count = self.batch_size // self.world.size
        return values[self.world.rank * count : (self.world.rank + 1) * count]
