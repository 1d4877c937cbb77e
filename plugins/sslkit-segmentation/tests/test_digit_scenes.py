from __future__ import annotations

import pytest
import torch

import sslkit
from sslkit_segmentation.digit_scenes import DigitScenes


def pixels(split: sslkit.Split) -> torch.Tensor:
    return split.images.gather(torch.arange(len(split.images)))


def load_scenes(split: str = "train", **options: int) -> sslkit.Split:
    return DigitScenes(DigitScenes.Options.model_validate({"train": 12, "test": 5, **options})).load(split)


@pytest.mark.parametrize("channels", [1, 3])
def test_digits_are_bright_and_labelled_and_backgrounds_are_dark_and_class_0(channels: int) -> None:
    scenes = load_scenes(channels=channels)
    images, masks = pixels(scenes), scenes.masks
    assert masks is not None
    assert (images.shape, images.dtype) == ((12, channels, 48, 48), torch.uint8)
    assert (masks.shape, masks.dtype) == ((12, 48, 48), torch.uint8)
    assert set(masks.unique().tolist()) <= set(range(11))
    assert (masks > 0).flatten(1).any(1).all(), "every scene has a digit"
    on_digit = (masks > 0)[:, None].expand_as(images)
    assert images[on_digit].min() >= 0.35 * 255 - 1
    assert images[~on_digit].max() <= 0.5 * 255 + 1
    assert images[on_digit].float().mean() > 2 * images[~on_digit].float().mean()


def test_one_digit_is_one_class_and_the_seed_determines_the_scenes() -> None:
    scenes = load_scenes(most_digits=1)
    assert scenes.masks is not None
    assert all(len(mask.unique()) == 2 for mask in scenes.masks)
    assert torch.equal(pixels(scenes), pixels(load_scenes(most_digits=1)))
    assert not torch.equal(pixels(scenes), pixels(load_scenes(most_digits=1, seed=1)))


def test_each_split_uses_the_digits_of_the_same_split(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = sslkit.Digits.load
    monkeypatch.setattr(sslkit.Digits, "load", lambda self, split: loaded.append(split) or load(self, split))
    load_scenes("train")
    load_scenes("test")
    assert loaded == ["train", "test"]


def test_splits() -> None:
    dataset = DigitScenes(DigitScenes.Options())
    assert (dataset.splits, dataset.mask_names[:2], dataset.class_names) == (("train", "test"), ("background", "0"), ())
    assert len(load_scenes("test").images) == 5
    with pytest.raises(sslkit.DataError, match="no split 'validation'"):
        dataset.load("validation")


def test_test_scenes_have_other_backgrounds_than_training_scenes() -> None:
    train, test = load_scenes(train=8, test=8), load_scenes("test", train=8, test=8)
    assert train.masks is not None
    assert test.masks is not None
    background = ((train.masks == 0) & (test.masks == 0))[:, None]  # may contain a few faint pixels of a digit
    assert (pixels(train)[background] == pixels(test)[background]).float().mean() < 0.5
