from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

import sslkit
from sslkit_segmentation.digit_scenes import DigitScenes
from sslkit_segmentation.segment import Pyramid, Segment, SegmentationData, _choose_data, mean_iou

SMALL = DigitScenes.Options(train=64, test=16, side=32)


class EdgeBackbone(sslkit.Backbone):
    """Backbone whose maps are the image and its local maxima, which suffice to separate digits from background."""

    api = 2
    feature_dim = 1

    def __init__(self) -> None:
        super().__init__(sslkit.NoOptions(), None)
        torch.manual_seed(0)
        self.layer = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))

    def feature_maps(self, images: Tensor) -> Mapping[int, Tensor]:
        coarse = max_pool2d(images, 4)
        return {1: images.expand(-1, 2, -1, -1), 4: torch.cat([coarse, -coarse], 1)}


class ConvBackbone(EdgeBackbone):
    """Backbone with trainable weights in its feature map."""

    def feature_maps(self, images: Tensor) -> Mapping[int, Tensor]:
        return {1: self.layer(images)}


class RunSubject:
    """Subject whose data set has masks if ``splits`` is set, else no masks."""

    seed = 1
    class_names = ()
    other_data = ""
    context = sslkit.Context(1, 12, (0.4,), (0.25,), 8, 1, 1, view_size=12)

    def __init__(self, network: sslkit.Backbone | None = None, **splits: sslkit.Split) -> None:
        self.network = (network or EdgeBackbone()).eval().requires_grad_(False)
        self.splits = splits
        self.mask_names = ("dark", "bright") if splits else ()

    def split(self, name: str) -> sslkit.Split:
        return self.splits[name]

    def backbone(self) -> sslkit.Backbone:
        return self.network


def halves(count: int, unknown: int) -> sslkit.Split:
    """Return images whose bright half is class 1; the first ``unknown`` rows of masks have no class."""
    images = torch.full((count, 1, 12, 12), 20, dtype=torch.uint8)
    masks = torch.zeros(count, 12, 12, dtype=torch.uint8)
    for index in range(count):
        half = slice(0, 6) if index % 2 else slice(6, 12)
        images[index, :, :, half], masks[index, :, half] = 230, 1
    masks[:, :unknown] = 255
    return sslkit.Split(sslkit.TensorStore(images), masks=masks)


@pytest.fixture
def small_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce number and size of the default digit scenes."""
    init = DigitScenes.__init__
    monkeypatch.setattr(DigitScenes, "__init__", lambda self, options: init(self, SMALL))


def test_mean_iou_by_hand() -> None:
    # Class 0: 3 hits, union 3 + 1 + 2; class 1: 4 hits, union 4 + 2 + 1; class 2 never occurs and does not count.
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
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in maps.values())


@pytest.mark.usefixtures("small_scenes")
def test_digits_are_segmented_reproducibly_and_the_backbone_is_unchanged() -> None:
    options = Segment.Options(epochs=25, batch_size=8, width=16, lr=1e-2)
    subject = RunSubject()
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    result = Segment(options).evaluate(subject)
    assert Segment(options).evaluate(RunSubject()) == result
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    # Predicting background everywhere gives an intersection over union of at most 1 for one class of eleven.
    assert result.metrics["miou"] > 1 / 11
    assert result.protocol["train_backbone"] is False
    assert result.protocol["data"] == "digit-scenes: scikit-learn's digits on textured backgrounds"
    assert (result.protocol["train_images"], result.protocol["images"]) == (64, 16)
    assert result.protocol["image_size"] == "32x32"


def test_every_run_is_evaluated_on_the_same_scenes() -> None:
    one, other = RunSubject(), RunSubject()
    other.seed = one.seed + 1
    first, second = (_choose_data(subject).test for subject in (one, other))
    indices = torch.arange(4)
    assert torch.equal(first.images.gather(indices), second.images.gather(indices))
    assert torch.equal(first.masks[:4], second.masks[:4])


@pytest.mark.usefixtures("small_scenes")
@pytest.mark.parametrize("trained", [False, True])
def test_train_backbone_trains_a_copy(monkeypatch: pytest.MonkeyPatch, trained: bool) -> None:
    subject = RunSubject(ConvBackbone())
    used: list[nn.Module] = []
    confusion = Segment._confusion

    def record(self: Segment, head: nn.Module, backbone: nn.Module, *rest: object) -> Tensor:
        assert not head.training, "statistics of test images must not count"
        assert not backbone.training, "statistics of test images must not count"
        used.append(backbone)
        return confusion(self, head, backbone, *rest)

    monkeypatch.setattr(Segment, "_confusion", record)
    before = subject.network.layer.weight.clone()
    Segment(Segment.Options(epochs=1, batch_size=4, train_backbone=trained)).evaluate(subject)
    assert torch.equal(subject.network.layer.weight, before)
    assert torch.equal(used[0].layer.weight, before) is not trained


def test_masks_of_the_data_are_learned_and_pixels_without_a_class_are_ignored() -> None:
    subject = RunSubject(train=halves(16, unknown=3), test=halves(4, unknown=3))
    subject.other_data = "halves"
    options = Segment.Options(epochs=30, batch_size=4, width=8, lr=1e-2)
    result = Segment(options).evaluate(subject)
    assert result.metrics["miou"] > 0.95
    assert (result.protocol["data"], result.protocol["classes"]) == ("halves", "dark, bright")
    assert result.metrics["pixel_accuracy"] > 0.95


def test_only_pixels_with_a_class_are_counted() -> None:
    test = halves(4, unknown=3)
    confusion = Segment(Segment.Options())._confusion(
        lambda maps, size: torch.zeros(4, 2, *size),
        RunSubject().network,
        lambda images: {},
        SegmentationData("", test, test, ("dark", "bright")),
    )
    assert confusion.tolist() == [[4 * 9 * 6, 0], [4 * 9 * 6, 0]]


def test_a_requested_data_set_without_masks_is_an_error() -> None:
    subject = RunSubject()
    subject.other_data = "cifar10"
    with pytest.raises(sslkit.DataError, match="data set 'cifar10' has no masks: segmentation needs a class"):
        Segment(Segment.Options()).evaluate(subject)


def test_the_backbone_gets_images_normalised_as_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[Tensor] = []
    monkeypatch.setattr(EdgeBackbone, "feature_maps", lambda self, images: batches.append(images) or {1: images})
    subject = RunSubject(train=halves(4, unknown=0), test=halves(4, unknown=0))
    Segment(Segment.Options(epochs=1, batch_size=4, width=4)).evaluate(subject)
    levels = (torch.tensor([20.0, 230.0]) / 255 - 0.4) / 0.25
    assert batches
    for images in batches:
        torch.testing.assert_close(images.unique(), levels)


@pytest.mark.parametrize("trained", [False, True])
def test_a_frozen_backbone_is_never_in_training_mode(monkeypatch: pytest.MonkeyPatch, trained: bool) -> None:
    modes: set[bool] = set()

    def feature_maps(self: EdgeBackbone, images: Tensor) -> dict[int, Tensor]:
        modes.add(self.training)
        return {3: self.layer(images)}

    monkeypatch.setattr(EdgeBackbone, "feature_maps", feature_maps)
    subject = RunSubject(train=halves(4, unknown=0), test=halves(4, unknown=0))
    Segment(Segment.Options(epochs=1, batch_size=4, train_backbone=trained)).evaluate(subject)
    assert modes == ({True, False} if trained else {False})


def test_scenes_have_the_channels_of_the_run() -> None:
    subject = RunSubject()
    subject.context = replace(subject.context, channels=3)
    assert _choose_data(subject).train.images.shape == (3, 48, 48)
