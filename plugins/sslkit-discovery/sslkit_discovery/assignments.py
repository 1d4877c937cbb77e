"""Assign images to classes with a lower bound on class sizes, and store the latest class of each image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import sslkit


class Assignments(nn.Module):
    """Labels and class sizes of R classifiers with the same number of classes. The values are equal in all processes.

    An image gets the class with the largest ``logit + dual``. In each step, the dual variable of a class rises if the
    class gets less than its share of the batch, so that later images get this class more often. These updates are
    stochastic gradient ascent on the dual problem of the assignment with a lower bound on the class sizes (arXiv
    2311.14310; CoKe, arXiv 2105.11527).

    Args:
        classifiers: int, number of classifiers R.
        classes: int, number of classes K.
        images: int, number of training images N.
        lower_bound: smallest class size, as a fraction of the mean size N / K.
        dual_lr: step size of the dual variables.
        world: the processes of the training run.

    Attributes:
        labels: int32 tensor ``[R, N]``, the latest class of each image; -1 before the image's first batch.
        duals: tensor ``[R, K]``, the dual variable of each class, 0 or more, in units of the logits.
        sizes: int64 tensor ``[R, K]``, the number of images of each class in ``labels``.
    """

    labels: Tensor
    duals: Tensor
    sizes: Tensor

    def __init__(
        self, classifiers: int, classes: int, images: int, lower_bound: float, dual_lr: float, world: sslkit.World
    ) -> None:
        super().__init__()
        self.lower_bound = lower_bound
        self.dual_lr = dual_lr
        self.world = world
        self.register_buffer("labels", torch.full((classifiers, images), -1, dtype=torch.int32))
        self.register_buffer("duals", torch.zeros(classifiers, classes))
        self.register_buffer("sizes", torch.zeros(classifiers, classes, dtype=torch.int64))

    @torch.no_grad()
    def assign(self, logits: Tensor) -> Tensor:
        """Return the class ``[R, B]`` of each image from logits ``[R, B, K]``."""
        return (logits + self.duals[:, None].to(logits.dtype)).argmax(2)

    def stored(self, index: Tensor) -> Tensor:
        """Return the stored labels ``[R, B]`` of images as int64; -1 for images that have not been in a batch yet."""
        return self.labels[:, index].long()

    @torch.no_grad()
    def update(self, labels: Tensor, index: Tensor) -> None:
        """Store labels, and update class sizes and dual variables. All processes must call this method.

        Args:
            labels: int64 tensor ``[R, B]``, the classes of this process's images.
            index: int64 tensor ``[B]``, the index of each image in the training set.
        """
        joined = self.world.gather(torch.cat([index[None], labels]).T)
        index, labels = joined[:, 0], joined[:, 1:].T
        new = self._count(labels)
        self.sizes += new - self._count(self.stored(index))
        self.labels.index_copy_(1, index, labels.to(self.labels.dtype))
        goal = self.lower_bound / self.duals.shape[1]
        # The dual of a lower bound is at least 0. For equal sizes, the bound is an equation, and its dual is free.
        self.duals += self.dual_lr * (goal - new.to(self.duals.dtype) / len(index))
        if self.lower_bound < 1:
            self.duals.clamp_min_(0)

    def _count(self, labels: Tensor) -> Tensor:
        """Return the number of images ``[R, K]`` of each class; the label -1 is not counted."""
        classes = torch.arange(self.duals.shape[1], device=labels.device)
        return (labels[:, :, None] == classes).sum(1)

    def smallest_class(self) -> Tensor:
        """Return a tensor ``[R]``, the size of the smallest class as a fraction of the mean size; 0 without labels."""
        total = self.sizes.sum(1).clamp_min(1)
        return self.sizes.amin(1).to(self.duals.dtype) * self.duals.shape[1] / total

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Load the state, but discard labels if the number of training images has changed: they are stored by index."""
        saved = state_dict.get(f"{prefix}labels")
        if saved is not None and saved.shape != self.labels.shape:
            fresh = {"labels": torch.full_like(self.labels, -1), "sizes": torch.zeros_like(self.sizes)}
            state_dict = {**state_dict, **{f"{prefix}{name}": value for name, value in fresh.items()}}
        super()._load_from_state_dict(state_dict, prefix, *args)
