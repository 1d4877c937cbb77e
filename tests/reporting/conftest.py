from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy
import pytest
from PIL import Image

import sslkit
from sslkit import Run

CLASSES = ('<b>cat & "co"', "dog\u202egod\n\x1b[31m")
"""Names of folders, and so of classes, that would act if they were not made harmless."""

FILE = "<img src=x onerror=alert({})>\u2067\n.png"

VOID = {"meta", "link", "img", "input", "br"}


class Parsed(HTMLParser):
    """A page, taken apart.

    Attributes:
        tags: every element: its tag and attributes.
        text: all text outside scripts and styles, white space made single.
        scripts: what scripts hold, by their type.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.parts: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.text = re.sub(r"\s+", " ", "".join(self.parts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            self.scripts.append((self.tags[-1][1].get("type", ""), data))
        elif inside != "style":
            self.parts.append(data)
            if {"td", "th"} & set(self.open):
                self.rows[-1][-1] += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [own for name, own in self.tags if name == tag and wanted.items() <= own.items()]

    def row(self, first: str) -> list[str]:
        """The first row of a table that begins so."""
        return next(cells for cells in self.rows if cells and cells[0].strip() == first)

    def check_alone(self) -> None:
        """It refers to nothing but itself, names nothing twice, and describes every image."""
        assert not self.open
        for tag, attributes in self.tags:
            assert not [name for name in attributes if name.startswith("on")], tag
            for name in ("src", "href", "xlink:href", "action", "data"):
                assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
            assert "url(" not in re.sub(r"url\((#|data:)", "", attributes.get("style", "")), (tag, attributes)
        for attributes in self.all("img"):
            assert attributes["alt"]
            assert attributes["src"].startswith("data:image/")
        ids = Counter(attributes["id"] for _, attributes in self.tags if "id" in attributes)
        assert [name for name, count in ids.items() if count > 1] == []


@pytest.fixture(scope="session")
def parse() -> type[Parsed]:
    return Parsed


def draw(folder: Path, count: int, level: int) -> None:
    folder.mkdir(parents=True)
    random = numpy.random.default_rng(level)
    for number in range(count):
        pixels = random.integers(level, level + 60, (8, 8), dtype=numpy.uint8)
        (Image.fromarray(pixels)).save(folder / FILE.format(number))


@pytest.fixture(scope="session")
def trained(tiny_text: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Trains a few steps on a folder of images into a folder of runs that all share, with a cache of its own."""
    shared = tmp_path_factory.mktemp("report")

    def train(name: str, root: Path) -> Run:
        recipe = shared / f"{name}.toml"
        recipe.write_text(tiny_text)
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
def labelled(trained: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on labelled images whose files and classes have hostile names, evaluated."""
    root = tmp_path_factory.mktemp("pictures") / "<i>root"
    for split, count in (("train", 20), ("test", 12)):
        for place, name in enumerate(CLASSES):
            draw(root / split / name, count, 20 + 150 * place)
    run = trained("labelled", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(run.path.parents[2] / "cache"))
        run.evaluate({"cluster": {}, "knn": {}, "linear-report": {"epochs": 3}}, random_baseline=True)
    return run


@pytest.fixture(scope="session")
def unlabelled(trained: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on images without labels, and without a test split."""
    root = tmp_path_factory.mktemp("unlabelled") / "root"
    draw(root, 24, 90)
    return trained("unlabelled", root)


@pytest.fixture
def cache(labelled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache that these runs' images are in."""
    monkeypatch.setenv("SSLKIT_CACHE", str(labelled.path.parents[2] / "cache"))
