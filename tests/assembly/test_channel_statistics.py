from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslkit.assembly.channel_statistics import channel_statistics
from sslkit.data.store import TensorStore


def test_statistics_are_those_of_all_pixels() -> None:
    images = torch.randint(0, 256, (40, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 2] = 128
    mean, std = channel_statistics(TensorStore(images))
    pixels = images.double() / 255
    assert mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist())
    expected = pixels.std(dim=(0, 2, 3), correction=0).tolist()
    assert std[:2] == pytest.approx(expected[:2])
    assert std[2] == pytest.approx(1 / 255), "a constant channel must not cause a division by zero"


def test_large_images_are_converted_in_small_chunks_and_on_the_cpu() -> None:
    class LargeImages:
        """Image store on MPS, which has no float64. It records the size of the largest chunk."""

        shape = (3, 1024, 1024)
        largest_chunk = 0
        device = torch.device("mps")

        def __len__(self) -> int:
            return 30

        def gather(self, index: Tensor) -> LargeImages:
            self.largest_chunk = max(self.largest_chunk, len(index))
            self.chunk = len(index)
            return self

        def cpu(self) -> Tensor:
            return torch.full((self.chunk, 3, 2, 2), 51, dtype=torch.uint8)

    images = LargeImages()
    mean, _ = channel_statistics(images)
    assert mean == pytest.approx((0.2, 0.2, 0.2))
    assert images.largest_chunk == 10
