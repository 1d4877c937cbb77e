from __future__ import annotations

import pytest
import torch

from sslkit.contracts.dataset import Split
from sslkit.data.datasets.digit_scenes import DigitScenes
from sslkit.data.datasets.digits import Digits
from sslkit.errors import DataError


def pixels(split: Split) -> torch.Tensor:
    return split.images.gather(torch.arange(len(split.images)))


def scenes(split: str = "train", **options: int) -> Split:
    return DigitScenes(DigitScenes.Options.model_validate({"train": 12, "test": 5, **options})).load(split)


@pytest.mark.parametrize("channels", [1, 3])
def test_digits_are_bright_and_labelled_and_backgrounds_are_neither(channels: int) -> None:
    made = scenes(channels=channels)
    images, masks = pixels(made), made.masks
    assert masks is not None
    assert (images.shape, images.dtype) == ((12, channels, 48, 48), torch.uint8)
    assert (masks.shape, masks.dtype) == ((12, 48, 48), torch.uint8)
    assert set(masks.unique().tolist()) <= set(range(11))
    assert (masks > 0).flatten(1).any(1).all(), "every scene has a digit"
    on = (masks > 0)[:, None].expand_as(images)
    assert images[on].min() >= 0.35 * 255 - 1
    assert images[~on].max() <= 0.5 * 255 + 1
    assert images[on].float().mean() > 2 * images[~on].float().mean()


def test_one_digit_is_one_class_and_the_seed_decides_everything() -> None:
    alone = scenes(most_digits=1)
    assert alone.masks is not None
    assert all(len(mask.unique()) == 2 for mask in alone.masks)
    assert torch.equal(pixels(alone), pixels(scenes(most_digits=1)))
    assert not torch.equal(pixels(alone), pixels(scenes(most_digits=1, seed=1)))


def test_digits_of_each_split_are_those_of_the_same_split_of_the_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    honest = Digits.load
    monkeypatch.setattr(Digits, "load", lambda self, split: asked.append(split) or honest(self, split))
    scenes("train")
    scenes("test")
    assert asked == ["train", "test"]


def test_splits() -> None:
    dataset = DigitScenes(DigitScenes.Options())
    assert (dataset.splits, dataset.mask_names[:2], dataset.class_names) == (("train", "test"), ("background", "0"), ())
    assert len(scenes("test").images) == 5
    with pytest.raises(DataError, match="no split 'validation'"):
        dataset.load("validation")


def test_scenes_to_test_on_have_backgrounds_of_their_own() -> None:
    """Most of them: where both masks are empty, faint ink may still be on both."""
    train, test = scenes(train=8, test=8), scenes("test", train=8, test=8)
    assert train.masks is not None
    assert test.masks is not None
    bare = ((train.masks == 0) & (test.masks == 0))[:, None]
    assert (pixels(train)[bare] == pixels(test)[bare]).float().mean() < 0.5
