from __future__ import annotations

from collections.abc import Callable

import torch

from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.sections.neighbours import neighbours


def test_neighbours_are_the_nearest_by_cosine_and_another_label_is_marked(
    encoded_split: Callable[..., EncodedSplit],
) -> None:
    features = torch.tensor([[1.0, 0], [1, 0.1], [50, 50], [-1, 0]])
    encoded = encoded_split(features, torch.tensor([0, 0, 1, 1]))
    assert encoded.neighbours()[0] == (0, [1, 2, 3])
    _, nearest = neighbours(encoded)[0]
    assert [tile["differs"] for tile in nearest] == [False, True, True]
