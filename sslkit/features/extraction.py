"""Extract the features of a split with a frozen network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.evaluator import Features
from sslkit.contracts.head import Head
from sslkit.views.preprocess import preprocess


@contextmanager
def eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Set modules to eval mode and disable gradients; restore the mode of every submodule on exit."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


class RowBuffer:
    """Preallocated tensor that is filled block by block. Concatenating the blocks would need twice the memory.

    Attributes:
        rows: tensor ``[count, D]`` on the CPU; None before the first block.
    """

    def __init__(self, count: int) -> None:
        self.count, self.filled = count, 0
        self.rows: Tensor | None = None

    def add(self, block: Tensor) -> None:
        """Copy a block ``[B, D]`` into the next free rows."""
        if self.rows is None:
            self.rows = torch.empty(self.count, *block.shape[1:], dtype=block.dtype)
        self.rows[self.filled : self.filled + len(block)] = block
        self.filled += len(block)


def extract_features(
    backbone: Backbone,
    images: ImageStore,
    *,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    labels: Tensor | None = None,
    indices: Tensor | None = None,
    head: Head | None = None,
    classifier: int = 0,
    batch_size: int = 512,
) -> Features:
    """Return the features of unaugmented images and, if the head has classifiers, the logits of one classifier.

    Args:
        backbone: the backbone. It runs in eval mode, on its own device, in float32.
        images: the images.
        size: side in pixels to which the images are resized and cropped.
        mean: per-channel mean for normalisation, in [0, 1].
        std: per-channel standard deviation for normalisation, in [0, 1].
        labels: int64 tensor ``[N]`` with the labels of all images; the labels of the used images are returned.
        indices: int64 tensor ``[M]`` with the indices of the images to use; None for all images.
        head: the head; None returns no logits.
        classifier: index of the head's classifier.
        batch_size: number of images to process at a time.

    Returns:
        Features on the CPU.
    """
    indices = torch.arange(len(images)) if indices is None else indices
    parameter = next(backbone.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    wants_logits = head is not None and bool(head.classifiers)
    features, logits = RowBuffer(len(indices)), RowBuffer(len(indices))
    with eval_mode(*(module for module in (backbone, head) if module is not None)):
        for block in indices.split(batch_size):
            batch = preprocess(images.gather(block).to(device, non_blocking=True), size, mean, std)
            block_features = backbone(batch).float()
            features.add(block_features)
            if wants_logits and head is not None:
                logits.add(head(block_features).logits[classifier].float())
    assert features.rows is not None
    return Features(features.rows, labels[indices] if labels is not None else None, logits.rows)
