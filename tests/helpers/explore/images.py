"""Images for tests of ``sslkit explore``, without a trained network."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from sslkit import TensorStore
from sslkit.explore.run_images import RunImages


def explore_images(root: Path, features: Tensor, classes: int = 3, labels: Tensor | None = None) -> RunImages:
    """Write an image file for each feature ``[N, D]``. The logits are ``classes`` columns of the features.

    The first half of the images is the split ``train``, the second half ``test``.
    """
    count = len(features)
    pixels = torch.stack([torch.full((3, 40, 60), 5 * index % 256, dtype=torch.uint8) for index in range(count)])
    files = []
    for index in range(count):
        file = f"{'train' if index < count // 2 else 'test'}/{index:03}.png"
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[index].permute(1, 2, 0).numpy()).save(root / file)
        files.append(file)
    return RunImages(
        root=root,
        files=tuple(files),
        splits=("train", "test"),
        stores=(TensorStore(pixels[: count // 2]), TensorStore(pixels[count // 2 :])),
        split=torch.tensor([0] * (count // 2) + [1] * (count - count // 2)),
        labels=torch.full((count,), -1) if labels is None else labels,
        label_names=() if labels is None else ("cat", "dog"),
        features=normalize(features, dim=1),
        norms=features.norm(dim=1, keepdim=True),
        logits=features[:, :classes],
        temperature=1.0,
        stability=None,
        notes=(),
    )


def blobs(count: int, classes: int = 3, dim: int = 5) -> Tensor:
    """Return features ``[count, dim]``: image i is in class ``i % classes``, and differs from its class a little."""
    generator = torch.Generator().manual_seed(0)
    features = 0.1 * torch.randn(count, dim, generator=generator)
    features[torch.arange(count), torch.arange(count) % classes] += 4
    return features
