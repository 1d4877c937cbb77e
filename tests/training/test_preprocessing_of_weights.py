"""Preprocessing of the initial weights in training, evaluation, prediction and export; grey and n-channel images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from csv_tables import read_rows
from equal_runs import assert_equal_runs
from PIL import Image

import sslkit
from sslkit.assembly.assemble import assemble
from sslkit.contracts.dataset import Split
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.data.datasets.digits import Digits
from sslkit.evaluation.run_subject import RunSubject
from sslkit.export.export import export
from sslkit.export.metadata import export_metadata
from sslkit.recipe.load import load_recipe
from sslkit.trained.network import TrainedNetwork
from sslkit.training.train import resume, train
from sslkit.views.preprocess import preprocess
from sslkit_backbones.convnet import ConvNet

PREPARED = Preprocessing(12, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")
WEIGHTS = ["backbone={use='convnet', width=4, weights='rgb'}", "train.epochs=1"]
FROZEN = [*WEIGHTS, "backbone.train='none'", "views={use='plain'}", "positives={use='neighbours', k=5}"]


@pytest.fixture(autouse=True)
def rgb_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let convnet offer weights that were trained with ``PREPARED``."""

    def load(self: ConvNet, source: str) -> str:
        torch.manual_seed(9)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.4, 0.6)
        return "weights of a test"

    monkeypatch.setattr(ConvNet, "weight_sources", classmethod(lambda cls, options: {"rgb": PREPARED}))
    monkeypatch.setattr(ConvNet, "load_weights_from", load)


def images_of(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat each digit for a number of channels."""
    load = Digits.load

    def load_repeated(self: Digits, split: str) -> Split:
        loaded = load(self, split)
        pixels = loaded.images.gather(torch.arange(len(loaded.images))).repeat(1, channels, 1, 1)
        return Split(sslkit.TensorStore(pixels), loaded.labels)

    monkeypatch.setattr(Digits, "load", load_repeated)


@pytest.mark.parametrize("views", ["plain", "affine", "flip"])
def test_views_have_the_size_and_normalisation_of_the_weights(tiny: Path, views: str) -> None:
    assembly = assemble(load_recipe(tiny, [*FROZEN, f"views={{use='{views}'}}", "backbone.train='all'"]))
    assert assembly.views.preprocessing == PREPARED
    assert assembly.context.channels == 3
    images = torch.full((2, 1, 8, 8), 255, dtype=torch.uint8)
    (group,) = assembly.views.apply(images, assembly.views.draw(2, torch.Generator().manual_seed(0)))
    assert group.shape[1:] == (2, 3, 12, 12)
    white = (1 - torch.tensor(PREPARED.mean)) / torch.tensor(PREPARED.std)
    if views != "affine":
        torch.testing.assert_close(group[0, 0].mean((1, 2)), white)


@pytest.mark.parametrize("settings", [FROZEN, [*WEIGHTS, "views={use='crops', saturation=0, hue=0, grayscale_p=0}"]])
def test_grey_images_train_as_their_repetition_in_three_channels(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str]
) -> None:
    grey = train(load_recipe(tiny, settings), tmp_path / "grey")
    images_of(3, monkeypatch)
    repeated = train(load_recipe(tiny, settings), tmp_path / "repeated")
    for split in ("train", "test"):
        features = RunSubject(grey, "cpu").features(split).features
        torch.testing.assert_close(RunSubject(repeated, "cpu").features(split).features, features, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [2, 5])
def test_other_channels_repeat_the_normalisation(tiny: Path, monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    images_of(channels, monkeypatch)
    assembly = assemble(load_recipe(tiny, FROZEN))
    assert assembly.views.mean == (0.1, 0.2, 0.3, 0.1, 0.2)[:channels]
    assert assembly.views.std == (0.4, 0.5, 0.6, 0.4, 0.5)[:channels]
    assert assembly.method.backbone(torch.zeros(1, channels, 12, 12)).shape == (1, 16)


def test_evaluation_prediction_and_export(tiny: Path, tmp_path: Path) -> None:
    run = sslkit.train(tiny, runs=tmp_path / "runs", settings=FROZEN)
    network = TrainedNetwork(run, "cpu")
    assert network.preprocessing == PREPARED
    test = RunSubject(run, "cpu").split("test").images
    pixels = test.gather(torch.arange(20))
    with torch.no_grad():
        features = network.backbone(preprocess(pixels, PREPARED))
        logits = network.head(features).logits[0]
    torch.testing.assert_close(RunSubject(run, "cpu").features("test").features[:20], features, rtol=1e-4, atol=1e-5)

    (tmp_path / "files").mkdir()
    for number, image in enumerate(pixels[:, 0].numpy()):
        Image.fromarray(image).save(tmp_path / "files" / f"{number:02}.png")
    run.predict(tmp_path / "files", tmp_path / "classes.csv", device="cpu")
    assert [int(row["class"]) for row in read_rows(tmp_path / "classes.csv")] == logits.argmax(1).tolist()

    expected = {"channels": 3, "size": 12, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bicubic"}
    assert export_metadata(run, network)["input"] == expected
    export(run, "safetensors", tmp_path / "exported.safetensors")
    loaded = sslkit.load_backbone(tmp_path / "exported.safetensors")
    assert loaded.preprocessing == PREPARED
    with torch.no_grad():
        assert torch.equal(loaded.backbone(preprocess(pixels, loaded.preprocessing)), features)


@pytest.mark.parametrize("part", ["none", "last 1 block"])
def test_a_continued_run_has_the_preprocessing_of_its_parent(
    tiny: Path, tmp_path: Path, part: str, stop_at: Any
) -> None:
    parent = train(load_recipe(tiny, FROZEN), tmp_path / "runs")
    settings = ["backbone.width=4", f"backbone.train='{part}'", "train.epochs=1"]
    uninterrupted = train(load_recipe(tiny, settings), tmp_path / "uninterrupted", parent=parent)
    assert TrainedNetwork(uninterrupted, "cpu").preprocessing == PREPARED
    child = train(load_recipe(tiny, settings), tmp_path / "runs", stop_at([2]), parent=parent)
    assert_equal_runs(resume(child), uninterrupted)


def test_a_resume_does_not_need_the_source_of_the_weights(
    tiny: Path, tmp_path: Path, finished_run: Path, stop_at: Any
) -> None:
    weights = tmp_path / "w.safetensors"
    shutil.copy(finished_run / "backbone.safetensors", weights)
    recipe = load_recipe(tiny, [f"backbone={{use='convnet', weights='{weights}'}}", "data.size=16"])
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    assert TrainedNetwork(uninterrupted, "cpu").preprocessing.size == 8
    run = train(recipe, tmp_path / "runs", stop_at([7]))
    weights.unlink()
    assert_equal_runs(resume(run), uninterrupted)
