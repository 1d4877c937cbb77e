"""Compute features of images, and logits of features, with a frozen network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.head import Head
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.device.transfer import to_device
from sslkit.features.row_buffer import RowBuffer
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


MAX_IMAGES = 512
"""Largest number of images to process at a time."""

MAX_PIXELS = 1 << 21
"""Largest number of pixels to process at a time: 41 images of 224 pixels. More take gigabytes, and are not faster."""


def extract_features(
    backbone: Backbone,
    images: ImageStore,
    preprocessing: Preprocessing,
    *,
    indices: Tensor | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the features of unaugmented images.

    Args:
        backbone: the backbone, which runs in eval mode, on its own device, in float32.
        images: the images.
        preprocessing: preparation of the images.
        indices: int64 tensor ``[M]`` with the indices of the images to use, or None for all images.
        on_progress: called after each batch with the number of processed images and the number of all images.

    Returns:
        float32 tensor ``[M, D]`` on the CPU.
    """
    indices = torch.arange(len(images)) if indices is None else indices
    device = device_of(backbone)
    features = RowBuffer(len(indices))
    with eval_mode(backbone):
        for block in indices.split(images_at_a_time(preprocessing.size)):
            batch = preprocess(to_device(images.gather(block), device), preprocessing)
            features.add(backbone(batch).float())
            if on_progress is not None:
                on_progress(features.added, len(indices))
    return features.finish()


def images_at_a_time(size: int) -> int:
    """Return how many images of ``size`` x ``size`` pixels to process at a time, to limit activation memory."""
    return max(1, min(MAX_IMAGES, MAX_PIXELS // size**2))


def classify_features(head: Head, features: Tensor, classifier: int, batch_size: int = 4096) -> Tensor | None:
    """Return the logits of one classifier.

    Args:
        head: the head, which runs in eval mode, on its own device, in float32.
        features: float tensor ``[N, D]``.
        classifier: index of the classifier in the head.
        batch_size: number of features to process at a time.

    Returns:
        float32 tensor ``[N, K]`` on the CPU, or None if the head has no classifiers.
    """
    if not head.classifiers:
        return None
    device, logits = device_of(head), RowBuffer(len(features))
    with eval_mode(head):
        for block in features.split(batch_size):
            logits.add(head(to_device(block, device)).logits[classifier].float())
    return logits.finish()


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's parameters, or the CPU for a module without parameters."""
    parameter = next(module.parameters(), None)
    return parameter.device if parameter is not None else torch.device("cpu")
