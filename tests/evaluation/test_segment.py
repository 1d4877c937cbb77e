from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from sslkit.contracts.dataset import Split
from sslkit.data.datasets.digit_scenes import DigitScenes
from sslkit.data.store import TensorStore
from sslkit.errors import DataError
from sslkit.evaluation.segment import Pyramid, Segment, Task, _task, mean_iou


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


SMALL = DigitScenes.Options(train=64, test=16, side=32)


@pytest.fixture
def small_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digit scenes that are the default, fewer and smaller."""
    build = DigitScenes.__init__
    monkeypatch.setattr(DigitScenes, "__init__", lambda self, options: build(self, SMALL))


@pytest.mark.usefixtures("small_scenes")
def test_finds_digits_leaves_the_backbone_alone_and_repeats(squares) -> None:
    options = Segment.Options(epochs=25, batch_size=8, width=16, lr=1e-2)
    subject = edges(squares)
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    result = Segment(options).evaluate(subject)
    again = Segment(options).evaluate(edges(squares))
    assert again.figures == result.figures
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    # Who calls everything background has an intersection over union of at most 1 for one class of eleven.
    assert result.figures["miou"] > 1 / 11
    assert result.protocol["train_backbone"] is False
    assert result.protocol["data"] == "digit-scenes: scikit-learn's digits on textured backgrounds"
    assert (result.protocol["train_images"], result.protocol["images"], result.protocol["image_size"]) == (
        64,
        16,
        "32x32",
    )


def test_every_run_is_scored_on_the_same_scenes(squares) -> None:
    one, other = squares(), squares()
    other.seed = one.seed + 1
    first, second = (_task(subject).test for subject in (one, other))
    index = torch.arange(4)
    assert torch.equal(first.images.gather(index), second.images.gather(index))
    assert torch.equal(first.masks[:4], second.masks[:4])


@pytest.mark.usefixtures("small_scenes")
@pytest.mark.parametrize("trained", [False, True])
def test_a_backbone_is_trained_where_asked_and_that_is_a_copy(
    squares, monkeypatch: pytest.MonkeyPatch, trained: bool
) -> None:
    subject = squares()
    subject.network.extra = nn.Conv2d(1, 4, 3, padding=1).requires_grad_(False)
    kind = type(subject.network)
    monkeypatch.setattr(kind, "feature_maps", lambda self, images: {1: self.extra(images)})
    used: list[nn.Module] = []
    honest = Segment._confusion

    def kept(self: Segment, head: nn.Module, backbone: nn.Module, *rest: object) -> torch.Tensor:
        assert not head.training, "statistics of test images must not count"
        assert not backbone.training, "statistics of test images must not count"
        used.append(backbone)
        return honest(self, head, backbone, *rest)

    monkeypatch.setattr(Segment, "_confusion", kept)
    before = subject.network.extra.weight.clone()
    Segment(Segment.Options(epochs=1, batch_size=4, train_backbone=trained)).evaluate(subject)
    assert torch.equal(subject.network.extra.weight, before)
    assert torch.equal(used[0].extra.weight, before) is not trained


def halves(count: int, unknown: int) -> Split:
    """Images whose bright half is class 1; in the masks, the first ``unknown`` rows have no class."""
    images = torch.full((count, 1, 12, 12), 20, dtype=torch.uint8)
    masks = torch.zeros(count, 12, 12, dtype=torch.uint8)
    for place in range(count):
        half = slice(0, 6) if place % 2 else slice(6, 12)
        images[place, :, :, half], masks[place, :, half] = 230, 1
    masks[:, :unknown] = 255
    return Split(TensorStore(images), masks=masks)


def test_masks_of_the_data_are_learned_and_pixels_without_a_class_do_not_count(squares) -> None:
    subject = edges(squares)
    subject.mask_names, subject.other_data = ("dark", "bright"), "halves"
    subject.splits = {"train": halves(16, unknown=3), "test": halves(4, unknown=3)}
    options = Segment.Options(epochs=30, batch_size=4, width=8, lr=1e-2)
    result = Segment(options).evaluate(subject)
    assert result.figures["miou"] > 0.95
    assert (result.protocol["data"], result.protocol["classes"]) == ("halves", "dark, bright")
    assert result.figures["pixel_accuracy"] > 0.95


def test_only_pixels_with_a_class_are_counted(squares) -> None:
    test = halves(4, unknown=3)
    task = Task("", test, test, ("dark", "bright"))
    nothing = Segment(Segment.Options())._confusion(
        lambda maps, size: torch.zeros(4, 2, *size), squares().network, lambda images: {}, task
    )
    assert nothing.tolist() == [[4 * 9 * 6, 0], [4 * 9 * 6, 0]]


def test_data_without_masks_are_refused_where_they_were_asked_for(squares) -> None:
    subject = edges(squares)
    subject.other_data = "cifar10"
    with pytest.raises(DataError, match="data set 'cifar10' has no masks: segmentation needs a class for every pixel"):
        Segment(Segment.Options()).evaluate(subject)


def test_the_backbone_sees_images_normalised_as_in_training(squares) -> None:
    subject, seen = squares(), []
    subject.mask_names = ("dark", "bright")
    subject.splits = {"train": halves(4, unknown=0), "test": halves(4, unknown=0)}
    subject.network.feature_maps = lambda images: seen.append(images) or {1: images}
    Segment(Segment.Options(epochs=1, batch_size=4, width=4)).evaluate(subject)
    levels = (torch.tensor([20.0, 230.0]) / 255 - 0.4) / 0.25
    assert seen
    for images in seen:
        torch.testing.assert_close(images.unique(), levels)


@pytest.mark.parametrize("trained", [False, True])
def test_a_frozen_backbone_is_never_in_training_mode(squares, monkeypatch: pytest.MonkeyPatch, trained: bool) -> None:
    subject, modes = squares(), []
    subject.mask_names = ("dark", "bright")
    subject.splits = {"train": halves(4, unknown=0), "test": halves(4, unknown=0)}

    def feature_maps(self: nn.Module, images: torch.Tensor) -> dict[int, torch.Tensor]:
        modes.append(self.training)
        return {3: self.layers[0](images)}

    monkeypatch.setattr(type(subject.network), "feature_maps", feature_maps)
    Segment(Segment.Options(epochs=1, batch_size=4, train_backbone=trained)).evaluate(subject)
    assert set(modes) == ({True, False} if trained else {False})


def test_scenes_have_the_channels_of_the_run(squares) -> None:
    subject = squares()
    subject.context = replace(subject.context, channels=3)
    assert _task(subject).train.images.shape == (3, 48, 48)
