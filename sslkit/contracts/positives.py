"""Contract of a rule that chooses the positives of an image: other images that should get the same class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options


class Positives(Component, ABC):
    """Base class of rules that choose the positives of an image: other images that should get the same class.

    In each step, every image of the batch comes with ``count`` positives, which are other training images. The views of
    the positives count as views of the image itself. Losses therefore receive ``V * (1 + count)`` views instead of V.
    Positives must not depend on labels.

    Attributes:
        needs_features: bool, whether ``prepare`` receives the features of the training images. Default: False.
        count: int, number of positives of each image in a step. Set ``count`` in ``__init__``. Default: 0.
    """

    needs_features: ClassVar[bool] = False
    count: int = 0

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options

    def prepare(self, features: Tensor) -> Mapping[str, Tensor]:
        """Return what ``draw`` needs to know about the training images.

        sslkit calls this method once, before the first step of a run, and saves the result in checkpoints.

        Args:
            features: float32 tensor ``[N, D]`` on the CPU, features of the unaugmented training images, computed with
                the run's initial weights. The shape is ``[0, 0]`` if ``needs_features`` is False.

        Returns:
            Mapping from name to tensor on the CPU. Empty by default.

        Raises:
            InputError: positives cannot be chosen among these images.
        """
        return {}

    @abstractmethod
    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the positives of a global batch.

        All random numbers must come from ``generator``, never from global random state.

        Args:
            prepared: the result of ``prepare``.
            index: int64 tensor ``[B]``, the indices of the images in the training set.
            generator: random generator on the CPU.

        Returns:
            int64 tensor ``[B, count]``, indices of training images.
        """
