"""Features of whole splits from a eval_mode network."""

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
    """Eval mode, BatchNorm statistics included, and no gradients; every submodule's mode is put back after."""
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
    """Rows that come in blocks, in memory for all of them: to join the blocks at the end would take twice as much.

    Attributes:
        rows: ``[count, D]`` on the CPU, filled as far as blocks came; None before the first.
    """

    def __init__(self, count: int) -> None:
        self.count, self.filled = count, 0
        self.rows: Tensor | None = None

    def add(self, block: Tensor) -> None:
        """Keep a block ``[B, D]``."""
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
    places: Tensor | None = None,
    head: Head | None = None,
    classifier: int = 0,
    batch_size: int = 512,
) -> Features:
    """Features, and logits of one classifier where the head has any, of unaugmented images.

    Args:
        backbone: the backbone; used in eval mode on the device it is on, in float32.
        images: the images.
        size: side in pixels that they are prepared to.
        mean: per-channel mean of the normalisation, in 0..1.
        std: per-channel standard deviation of the normalisation, in 0..1.
        labels: ``[N]`` int64 of all images, to go with the features.
        places: ``[M]`` int64, which images; all where not given.
        head: the head.
        classifier: place of the classifier in the head.
        batch_size: images at a time.

    Returns:
        Features on the CPU.
    """
    places = torch.arange(len(images)) if places is None else places
    anchor = next(backbone.parameters(), None)
    device = anchor.device if anchor is not None else torch.device("cpu")
    wants_logits = head is not None and bool(head.classifiers)
    features, logits = RowBuffer(len(places)), RowBuffer(len(places))
    with eval_mode(*(module for module in (backbone, head) if module is not None)):
        for block in places.split(batch_size):
            made = backbone(preprocess(images.gather(block).to(device, non_blocking=True), size, mean, std)).float()
            features.add(made)
            if wants_logits and head is not None:
                logits.add(head(made).logits[classifier].float())
    assert features.rows is not None
    return Features(features.rows, labels[places] if labels is not None else None, logits.rows)
