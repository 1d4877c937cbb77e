from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sslkit.contracts.dataset import Split
from sslkit.data.store import TensorStore
from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.encoded_split import EncodedSplit


@pytest.fixture
def encoded_split() -> Callable[..., EncodedSplit]:
    """Returns a test split of images of noise with these features, without discovered classes."""

    def build(
        features: torch.Tensor,
        labels: torch.Tensor | None = None,
        class_names: tuple[str, ...] = ("a", "b"),
        discovered: DiscoveredClasses | None = None,
        image_side: int = 8,
    ) -> EncodedSplit:
        shape = (len(features), 1, image_side, image_side)
        images = TensorStore(torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
        return EncodedSplit("test", Split(images, labels), features, class_names, discovered, (), 0)

    return build
