"""Similarities of some features or of all, without a copy of all of them."""

from __future__ import annotations

import pytest
import torch
from largest_tensor import LargestTensor

from sslkit.features import similarity
from sslkit.features.similarity import mean_feature, similarities

FEATURES = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "indices", [torch.arange(60), torch.arange(59, -1, -1), torch.arange(3, 57, 2), torch.arange(0)]
)
def test_blocks_give_the_same_values(indices: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "BLOCK", 7)
    with LargestTensor() as mode:  # type: ignore[no-untyped-call]
        found, mean = similarities(FEATURES, indices, FEATURES[3]), mean_feature(FEATURES, indices)
    torch.testing.assert_close(found, FEATURES[indices] @ FEATURES[3])
    torch.testing.assert_close(mean, FEATURES[indices].sum(0) / max(1, len(indices)))
    assert mode.largest <= 60
