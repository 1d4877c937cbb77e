"""The examples run on a backbone that these tests train."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import sslkit
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.train import train

EXAMPLES = Path(__file__).parents[2] / "examples"


def load_example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tiny: Path, tmp_path: Path) -> Run:
    return train(load_recipe(tiny, ["backbone.width=4", "train.epochs=1"]), tmp_path / "runs")


def test_faster_rcnn_learns_to_detect_digits_with_a_trained_backbone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    detection = load_example("detection", monkeypatch)
    trained = sslkit.load_backbone(run.path)
    torch.manual_seed(0)
    model = detection.build_detector(trained, classes=11, side=48, strides=(2, 4), anchors=(16, 24))
    before = next(trained.backbone.parameters()).clone()
    scenes = detection.scenes("test", trained.channels, 30)
    recall_before, _ = detection.evaluate(model, scenes)
    detection.train(model, detection.scenes("train", trained.channels, 140), epochs=3)
    recall, accuracy = detection.evaluate(model, scenes)
    assert recall > recall_before + 0.3
    assert accuracy > 0.15
    assert not torch.equal(next(trained.backbone.parameters()), before), "the backbone must be trained as well"


def test_loaded_backbone_gives_the_features_of_evaluation(run: Run) -> None:
    from sslkit.evaluation.run_subject import RunSubject

    trained = sslkit.load_backbone(run.path)
    subject = RunSubject(run, "cpu")
    images = subject.split("test").images.gather(torch.arange(20)).float() / 255
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (trained.preprocessing.mean, trained.preprocessing.std))
    with torch.no_grad():
        features = trained.backbone((images - mean) / std)
    torch.testing.assert_close(features, subject.features("test").features[:20], rtol=1e-4, atol=1e-5)
    assert (trained.channels, trained.preprocessing.size) == (1, 8)
    assert not trained.backbone.training


def test_loading_a_missing_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sslkit.RunError, match="there is no run 'mine'"):
        sslkit.load_backbone("mine", tmp_path)
