"""Class labels of all training images, stored in a buffer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import sslkit

COUNTED_AT_A_TIME = 4096
"""Number of images whose labels are counted at a time, to save memory: each label is compared with all classes."""


class StoredLabels(nn.Module):
    """Label of each training image, for R classifiers with K classes. The values are the same in all processes.

    Args:
        classifiers: int, number of classifiers R.
        classes: int, number of classes K.
        images: int, number of training images N.
        world: the processes of the training run.

    Attributes:
        labels: int32 tensor ``[R, N]``, the class of each image; -1 for images without a label.
        sizes: int64 tensor ``[R, K]``, the number of images of each class in ``labels``.
    """

    labels: Tensor
    sizes: Tensor

    def __init__(self, classifiers: int, classes: int, images: int, world: sslkit.World) -> None:
        super().__init__()
        self.world = world
        self.register_buffer("labels", torch.full((classifiers, images), -1, dtype=torch.int32))
        self.register_buffer("sizes", torch.zeros(classifiers, classes, dtype=torch.int64))

    def stored(self, index: Tensor) -> Tensor:
        """Return each classifier's labels of the images with indices ``[B]``.

        Returns:
            int64 tensor ``[R, B]`` for R classifiers; -1 for images without a label.
        """
        return self.labels[:, index].long()

    def set_all(self, labels: Tensor) -> None:
        """Set the labels of all images, ``[R, N]`` for R classifiers."""
        self.labels.copy_(labels)
        self.sizes.copy_(torch.stack([self._count(part) for part in labels.split(COUNTED_AT_A_TIME, dim=1)]).sum(0))

    @torch.no_grad()
    def update(self, labels: Tensor, index: Tensor) -> tuple[Tensor, int]:
        """Store the labels of the global batch. All processes must call this method.

        Args:
            labels: int64 tensor ``[R, B]``, the labels of this process's images.
            index: int64 tensor ``[B]``, the index of each image in the training set.

        Returns:
            The number of images ``[R, K]`` of each class in the global batch, and the size of the global batch.
        """
        joined = self.world.gather(torch.cat([index[None], labels]).T)
        index, labels = joined[:, 0], joined[:, 1:].T
        new = self._count(labels)
        self.sizes += new - self._count(self.stored(index))
        self.labels.index_copy_(1, index, labels.to(self.labels.dtype))
        return new, len(index)

    def _count(self, labels: Tensor) -> Tensor:
        """Return the number of images ``[R, K]`` of each class; the label -1 is not counted."""
        classes = torch.arange(self.sizes.shape[1], device=labels.device)
        return (labels[:, :, None] == classes).sum(1)

    def smallest_class(self) -> Tensor:
        """Return each classifier's smallest class size divided by its mean class size, ``[R]``; 0 without labels."""
        return self.sizes.amin(1) * self.sizes.shape[1] / self.sizes.sum(1).clamp_min(1)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Load the state; discard its labels if the number of training images changed, because indices then differ."""
        saved = state_dict.get(f"{prefix}labels")
        if saved is not None and saved.shape != self.labels.shape:
            fresh = {"labels": torch.full_like(self.labels, -1), "sizes": torch.zeros_like(self.sizes)}
            state_dict = {**state_dict, **{f"{prefix}{name}": value for name, value in fresh.items()}}
        super()._load_from_state_dict(state_dict, prefix, *args)
