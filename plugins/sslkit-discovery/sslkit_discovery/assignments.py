"""Assign images to classes with a lower bound on class sizes, and store the latest class of each image."""

from __future__ import annotations

import torch
from torch import Tensor

import sslkit
from sslkit_discovery.stored_labels import StoredLabels


class Assignments(StoredLabels):
    """Labels and class sizes of R classifiers with the same number of classes, identical in all processes.

    An image gets the class with the largest ``logit + dual``. In each step, the dual variable of a class rises if the
    class gets less than ``lower_bound / K`` of the batch, so that later images get this class more often; otherwise it
    falls. These updates are stochastic gradient ascent on the dual problem of the assignment with a lower bound on the
    class sizes (arXiv 2311.14310; CoKe, arXiv 2105.11527).

    Args:
        classifiers: int, number of classifiers R.
        classes: int, number of classes K.
        images: int, number of training images N.
        lower_bound: smallest class size, as a fraction of the mean size N / K.
        dual_lr: step size of the dual variables.
        world: the processes of the training run.

    Attributes:
        labels: int32 tensor ``[R, N]``, the latest class of each image; -1 before the image's first batch.
        duals: tensor ``[R, K]``, the dual variable of each class, in units of the logits; 0 or more if
            ``lower_bound`` is less than 1.
        sizes: int64 tensor ``[R, K]``, the number of images of each class in ``labels``.
    """

    duals: Tensor

    def __init__(
        self, classifiers: int, classes: int, images: int, lower_bound: float, dual_lr: float, world: sslkit.World
    ) -> None:
        super().__init__(classifiers, classes, images, world)
        self.lower_bound = lower_bound
        self.dual_lr = dual_lr
        self.register_buffer("duals", torch.zeros(classifiers, classes))

    @torch.no_grad()
    def assign(self, logits: Tensor) -> Tensor:
        """Return the class of each image, int64 ``[R, B]``: the class with the largest sum of logit and dual variable.

        Args:
            logits: tensor ``[R, B, K]``.
        """
        return (logits + self.duals[:, None].to(logits.dtype)).argmax(2)

    @torch.no_grad()
    def update(self, labels: Tensor, index: Tensor) -> tuple[Tensor, int]:
        """Store the labels of the global batch, and update the dual variables from its class sizes.

        Args:
            labels: int64 tensor ``[R, B]``, the labels of this process's images.
            index: int64 tensor ``[B]``, the index of each image in the training set.

        Returns:
            The number of images ``[R, K]`` of each class in the global batch, and the size of the global batch.
        """
        new, images = super().update(labels, index)
        goal = self.lower_bound / self.duals.shape[1]
        # The dual of a lower bound is at least 0. For equal sizes, the bound is an equation, and its dual is free.
        self.duals += self.dual_lr * (goal - new.to(self.duals.dtype) / images)
        if self.lower_bound < 1:
            self.duals.clamp_min_(0)
        return new, images
