"""Each pretext task learns: features of trained networks classify digits better than those of untrained networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import sslkit
from sslkit.assembly.assemble import assemble
from sslkit.components.catalog import registered_components
from sslkit.data.datasets.digits import Digits
from sslkit.data.label_subsets import nested_subsets
from sslkit.data.store import TensorStore
from sslkit.evaluation.knn_classifier import knn_accuracy
from sslkit.recipe.load import load_recipe
from sslkit.training.train import train

RECIPE = """
[train]
epochs = %d
batch_size = 128
[backbone]
use = "convnet"
width = 16
[optimizer]
use = "adamw"
lr = 2e-3
warmup_epochs = 1
[monitor]
every_epochs = 0
"""

AFFINE = '[views]\nuse = "affine"\npadding = "zeros"\ndegrees = 10\nviews = 1\n'
UNCHANGED = '[views]\nuse = "flip"\nflip_p = 0.0\nviews = 1\n'
JIGSAW = "[method]\ngrid = 2\ntile_scale = 1.0\norders = 24\nhidden_dim = 128"

METHODS = {
    "rotation": (12, f'{AFFINE}[data]\nuse = "rgb-digits"\n[method]'),
    "jigsaw": (15, f'{UNCHANGED}[data]\nuse = "sequences"\nsize = 8\n{JIGSAW}'),
    "colourisation": (12, f'{AFFINE}[data]\nuse = "coloured-digits"\nsize = 8\n[method]'),
}
"""Epochs; views, data and options of each method."""


def on_background(images: torch.Tensor) -> torch.Tensor:
    """Return digits in [0, 1] on a background that is a quarter as bright as the strokes."""
    return 0.25 + 0.75 * images


class RgbDigits(Digits):
    """Digits with three equal channels."""

    def load(self, split: str) -> sslkit.Split:
        grey = super().load(split)
        assert grey.labels is not None
        images = grey.images.gather(torch.arange(len(grey.images))).expand(-1, 3, -1, -1)
        return sslkit.Split(TensorStore(self.change(images, grey.labels)), grey.labels)

    def change(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return images.contiguous()


class ColouredDigits(RgbDigits):
    """Digits on a background, in a colour that depends on the class. Training sees the colour, but not the class."""

    def change(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        hue = labels[:, None] / 10 * 2 * torch.pi + torch.arange(3) * 2 * torch.pi / 3
        colours = (hue.cos() + 1) / 2
        colours = colours / (colours * torch.tensor([0.299, 0.587, 0.114])).sum(1, keepdim=True) * 0.4  # equal grey
        return (255 * on_background(images / 255) * colours[..., None, None]).clamp(0, 255).to(torch.uint8)


class Sequences(RgbDigits):
    """Four consecutive digits, in two rows: to order its tiles, a network must recognise the digits."""

    def change(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        of_class = [(labels == label).nonzero().flatten() for label in range(10)]
        tiles = []
        for later in range(4):
            members = [of_class[(label + later) % 10] for label in labels.tolist()]
            chosen = [own[torch.randint(len(own), (1,), generator=generator)] for own in members]
            tiles.append(images[torch.cat(chosen)])
        return torch.cat([torch.cat(tiles[:2], 3), torch.cat(tiles[2:], 3)], 2)


@pytest.fixture(autouse=True)
def data() -> Iterator[None]:
    names = {"rgb-digits": RgbDigits, "coloured-digits": ColouredDigits, "sequences": Sequences}
    for name, component in names.items():
        sslkit.register(name, component)
    yield
    for name in names:
        registered_components.pop(("sslkit.datasets", name))


def accuracy(method: str, backbone: sslkit.Backbone, preprocessing: sslkit.Preprocessing) -> float:
    """Return the accuracy of a nearest-neighbour classifier with 2 % of the labels of grey digits, over ten subsets."""
    digits = RgbDigits(Digits.Options(size=16 if method == "rotation" else 8))
    mean, std = (torch.tensor(own)[:, None, None] for own in (preprocessing.mean, preprocessing.std))
    features, labels = [], []
    for name in ("train", "test"):
        split = digits.load(name)
        assert split.labels is not None
        images = split.images.gather(torch.arange(len(split.images))) / 255
        if method == "colourisation":
            images = 0.4 * on_background(images)  # the grey versions of the training images
        with torch.no_grad():
            features.append(backbone.eval()((images - mean) / std))
        labels.append(split.labels)
    accuracies = []
    for seed in range(10):
        subset = nested_subsets(labels[0], [0.02], seed)[0.02]
        bank = features[0][subset], labels[0][subset]
        accuracies.append(knn_accuracy(*bank, features[1], labels[1], 1, classes=10))
    return sum(accuracies) / len(accuracies)


@pytest.mark.parametrize("method", METHODS)
def test_learns(method: str, tmp_path: Path) -> None:
    epochs, tables = METHODS[method]
    (tmp_path / "recipe.toml").write_text(RECIPE % epochs + f'{tables}\nuse = "{method}"\n')
    recipe = load_recipe(tmp_path / "recipe.toml")
    trained = sslkit.load_backbone(train(recipe, tmp_path / "runs").path)
    backbones = trained.backbone, assemble(recipe).method.backbone
    scores = [accuracy(method, backbone, trained.preprocessing) for backbone in backbones]
    assert scores[0] > scores[1] + 0.05
