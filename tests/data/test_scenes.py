from __future__ import annotations

import pytest
import torch

from sslkit.data.datasets.digits import Digits
from sslkit.data.scenes import Scenes, compose


def scenes(seed: int = 0, **changes: int) -> Scenes:
    given = {"count": 12, "side": 48, "channels": 1, "most_digits": 3} | changes
    digits = Digits(Digits.Options(size=16)).load("train")
    return compose(digits, **given, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
def test_digits_are_bright_and_labelled_and_backgrounds_are_neither(channels: int) -> None:
    made = scenes(channels=channels)
    assert made.images.shape == (12, channels, 48, 48)
    assert made.images.dtype == torch.uint8
    assert made.masks.shape == (12, 48, 48)
    assert set(made.masks.unique().tolist()) <= set(range(11))
    assert (made.masks > 0).flatten(1).any(1).all(), "every scene has a digit"
    on = (made.masks > 0)[:, None].expand_as(made.images)
    assert made.images[on].min() >= 0.35 * 255 - 1
    assert made.images[~on].max() <= 0.5 * 255 + 1
    assert made.images[on].float().mean() > 2 * made.images[~on].float().mean()


def test_one_digit_is_one_class_and_the_generator_decides_everything() -> None:
    alone = scenes(most_digits=1)
    assert all(len(mask.unique()) == 2 for mask in alone.masks)
    assert torch.equal(alone.images, scenes(most_digits=1).images)
    assert not torch.equal(alone.images, scenes(1, most_digits=1).images)
