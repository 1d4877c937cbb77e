from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from explore.server import Server, start_explore
from PIL import Image

import sslkit
from sslkit import Run

CLASS_NAMES = ('<b>cat & "co"', "dog\u202egod")
FILE_NAME = "<img src=x onerror=alert({})>\u2067\n.png"


@pytest.fixture(scope="session")
def hostile_run(tiny_recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on labelled images with malicious file and class names. Tests must not change it."""
    folder = tmp_path_factory.mktemp("explore")
    root = folder / "<i>root"
    random = numpy.random.default_rng(0)
    for split, count in (("train", 20), ("test", 6)):
        for label, name in enumerate(CLASS_NAMES):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                level = 20 + 150 * label
                pixels = random.integers(level, level + 60, (48, 64), dtype=numpy.uint8)
                Image.fromarray(pixels).save(root / split / name / FILE_NAME.format(number))
    (folder / "recipe.toml").write_text(tiny_recipe_text)
    data = f"data={{use='image-folder', root={json.dumps(str(root))}, channels=1, size=8}}"
    settings = [data, "train.batch_size=8", "head.classifiers=[3, 3]"]
    return sslkit.train(folder / "recipe.toml", settings=settings, runs=folder / "runs")


@pytest.fixture
def run(hostile_run: Run, tmp_path: Path) -> Run:
    """A copy of the run that a test may change."""
    shutil.copytree(hostile_run.path, tmp_path / "runs" / "mine" / "1")
    return Run(tmp_path / "runs" / "mine" / "1")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Run], Server]]:
    """Start ``sslkit explore --no-open`` and wait until the images are loaded."""
    started: list[Server] = []

    def start(run: Run) -> Server:
        started.append(start_explore(run, tmp_path / f"server{len(started)}"))
        started[-1].wait_until_loaded()
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.join()


@pytest.fixture
def server(start: Callable[[Run], Server], run: Run) -> Server:
    return start(run)
