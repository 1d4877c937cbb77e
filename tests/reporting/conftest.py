from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image

import sslkit
from sslkit import Run

CLASS_NAMES = ('<b>cat & "co"', "dog\u202egod\n\x1b[31m")
"""Names of class folders that would inject HTML, reverse text or colour a terminal if they were not escaped."""

FILE_NAME = "<img src=x onerror=alert({})>\u2067\n.png"


def write_images(folder: Path, count: int, level: int) -> None:
    folder.mkdir(parents=True)
    random = numpy.random.default_rng(level)
    for number in range(count):
        pixels = random.integers(level, level + 60, (8, 8), dtype=numpy.uint8)
        Image.fromarray(pixels).save(folder / FILE_NAME.format(number))


@pytest.fixture(scope="session")
def train(tiny_recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Train a few steps on an image folder; all runs share a runs folder and a cache."""
    shared = tmp_path_factory.mktemp("report")

    def train(name: str, root: Path) -> Run:
        recipe = shared / f"{name}.toml"
        recipe.write_text(tiny_recipe_text)
        settings = [
            f"data={{use='image-folder', root={json.dumps(str(root))}, channels=1}}",
            "train.batch_size=8",
            "head.classifiers=[3]",
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSLKIT_CACHE", str(shared / "cache"))
            return sslkit.train(recipe, settings=settings, runs=shared / "runs")

    return train


@pytest.fixture(scope="session")
def labelled_run(train: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished, evaluated run on labelled images with malicious file and class names."""
    root = tmp_path_factory.mktemp("pictures") / "<i>root"
    for split, count in (("train", 20), ("test", 12)):
        for label, name in enumerate(CLASS_NAMES):
            write_images(root / split / name, count, 20 + 150 * label)
    run = train("labelled", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(run.path.parents[2] / "cache"))
        run.evaluate({"cluster": {}, "knn": {}, "linear-sgd": {"epochs": 3}}, baselines=["random"])
    return run


@pytest.fixture(scope="session")
def unlabelled_run(train: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on images without labels and without a test split."""
    root = tmp_path_factory.mktemp("unlabelled") / "root"
    write_images(root, 24, 90)
    return train("unlabelled", root)


@pytest.fixture
def shared_cache(labelled_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the cache that contains the images of these runs."""
    monkeypatch.setenv("SSLKIT_CACHE", str(labelled_run.path.parents[2] / "cache"))
