from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from sslkit.evaluation.segment import Pyramid, Segment, mean_iou


def test_mean_iou_by_hand() -> None:
    # Class 0: 3 hit, union 3 + 1 + 2; class 1: 4 hit, union 4 + 2 + 1; class 2 never occurs and does not count.
    confusion = torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    assert mean_iou(confusion) == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert mean_iou(torch.eye(3, dtype=torch.int64)) == 1


@pytest.mark.parametrize("size", [(32, 32), (37, 50)])
def test_the_pyramid_uses_every_map_at_any_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    head = Pyramid({4: 6, 1: 3, 2: 5}, 8, 11).eval()
    height, width = size
    maps = {
        stride: torch.randn(2, channels, -(-height // stride), -(-width // stride), requires_grad=True)
        for stride, channels in ((1, 3), (2, 5), (4, 6))
    }
    logits = head(maps, size)
    assert logits.shape == (2, 11, *size)
    logits.square().sum().backward()
    assert all(made.grad is not None and made.grad.abs().sum() > 0 for made in maps.values())


def edges(squares) -> object:
    """A subject whose frozen maps are the image and its local maxima: enough to tell digits from background."""
    subject = squares()

    def feature_maps(images: torch.Tensor) -> dict[int, torch.Tensor]:
        coarse = max_pool2d(images, 4)
        return {1: images.expand(-1, 2, -1, -1), 4: torch.cat([coarse, -coarse], 1)}

    subject.network.feature_maps = feature_maps
    return subject


def test_finds_digits_leaves_the_backbone_alone_and_repeats(squares) -> None:
    options = Segment.Options(scenes=64, test_scenes=16, epochs=25, side=32, batch_size=8, width=16, lr=1e-2)
    subject = edges(squares)
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    result = Segment(options).evaluate(subject)
    again = Segment(options).evaluate(edges(squares))
    assert again.figures == result.figures
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    # Who calls everything background has an intersection over union of at most 1 for one class of eleven.
    assert result.figures["miou"] > 1 / 11
    assert result.protocol["train_backbone"] is False


def test_a_trained_backbone_is_a_copy(squares) -> None:
    subject = squares()
    layer = nn.Conv2d(1, 4, 3, padding=1)
    subject.network.extra = layer
    subject.network.feature_maps = lambda images: {1: layer(images)}
    options = Segment.Options(scenes=8, test_scenes=2, epochs=1, side=32, batch_size=4, train_backbone=True)
    before = layer.weight.clone()
    Segment(options).evaluate(subject)
    assert torch.equal(layer.weight, before)
