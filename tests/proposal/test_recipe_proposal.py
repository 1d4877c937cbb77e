"""The rules that propose a recipe, and the proposed recipe."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from sslkit.errors import InputError
from sslkit.proposal import class_rules, rules
from sslkit.proposal.folder_facts import FolderFacts
from sslkit.proposal.tables import run_name
from sslkit.proposal.write_recipe import propose_recipe
from sslkit.recipe.load import load_recipe

PHOTOS = FolderFacts(
    images=50_000, side=32, one_size=True, colour=True, background=None, classes=0, broken=0.0, has_gpu=False
)
SYMBOLS = replace(PHOTOS, images=1797, side=8, colour=False, background=3)


@pytest.mark.parametrize(
    ("side", "has_gpu", "view", "stored"),
    [(8, False, 16, 16), (16, False, 16, 16), (32, False, 32, 32), (40, False, 32, 40), (500, False, 32, 64),
     (64, True, 64, 64), (500, True, 128, 256)],
)  # fmt: skip
def test_view_and_stored_size(side: int, has_gpu: bool, view: int, stored: int) -> None:
    facts = replace(PHOTOS, side=side, has_gpu=has_gpu)
    assert (rules.view_size(facts).value, rules.stored_size(facts).value) == (view, stored)


def test_cropping_of_images_that_are_not_square_is_explained() -> None:
    assert "own size" in rules.stored_size(PHOTOS).reason
    assert "the middle square is kept" in rules.stored_size(replace(PHOTOS, square=False)).reason


def test_symbols_are_neither_cropped_nor_mirrored() -> None:
    views = rules.views(SYMBOLS)
    assert (views["use"].value, views["padding"].value, "flip_p" in views) == ("affine", "zeros", False)
    assert "Mirroring is off" in views["use"].reason
    assert rules.views(replace(SYMBOLS, background=250))["padding"].value == "border"
    assert rules.views(replace(SYMBOLS, background=None))["use"].value == "crops"
    assert rules.views(replace(SYMBOLS, colour=True))["global_scale"].value == [0.5, 1.0]


def test_photos_are_cropped_and_mirrored() -> None:
    coloured, grey = rules.views(PHOTOS), rules.views(replace(PHOTOS, colour=False))
    assert (coloured["use"].value, coloured["flip_p"].value) == ("crops", 0.5)
    assert "hue" not in coloured
    assert [grey[name].value for name in ("saturation", "hue", "grayscale_p")] == [0.0, 0.0, 0.0]
    assert "global_scale" not in rules.views(replace(PHOTOS, has_gpu=True))


def test_backbone_depends_on_the_images_and_the_hardware() -> None:
    assert rules.backbone(SYMBOLS)["use"].value == "convnet"
    assert rules.backbone(replace(SYMBOLS, side=64, background=None))["use"].value == "alexnet"
    assert rules.backbone(PHOTOS)["use"].value == "alexnet"
    assert rules.backbone(replace(PHOTOS, has_gpu=True))["use"].value == "resnet18"
    assert rules.learning_rate(SYMBOLS).value > rules.learning_rate(PHOTOS).value


@pytest.mark.parametrize(
    ("images", "has_gpu", "batch", "epochs"),
    [(8, False, 8, 400), (100, False, 32, 400), (1797, False, 64, 72), (6000, False, 256, 87),
     (50_000, False, 256, 30), (50_000, True, 256, 103), (2_000_000, True, 256, 30)],
)  # fmt: skip
def test_batch_size_and_epochs(images: int, has_gpu: bool, batch: int, epochs: int) -> None:
    facts = replace(PHOTOS, images=images, has_gpu=has_gpu)
    assert (rules.batch_size(facts).value, rules.epochs(facts).value) == (batch, epochs)


@pytest.mark.parametrize(
    ("images", "known", "classes", "styles"),
    [
        (50_000, 0, 20, [60, 100]),
        (50_000, 10, 10, [30, 50]),
        (100, 0, 5, [5, 5]),
        (10, 0, 2, [2, 2]),
        (100, 7, 7, [5, 5]),
    ],
)
def test_number_of_classes(images: int, known: int, classes: int, styles: list[int]) -> None:
    facts = replace(PHOTOS, images=images, classes=known)
    assert class_rules.classifiers(facts).value == [classes] * 40
    assert class_rules.styles(facts).value == styles
    assert ("is unknown" in class_rules.classifiers(facts).reason) == (known == 0)


@pytest.mark.parametrize(("broken", "limit"), [(0.0, None), (0.05, None), (0.2, 0.21), (0.999, 1.0)])
def test_limit_of_broken_files_is_raised_only_if_needed(broken: float, limit: float | None) -> None:
    choice = rules.broken_limit(replace(PHOTOS, broken=broken))
    assert (choice.value if choice else None) == limit


ALL_KINDS = [
    replace(PHOTOS, side=side, colour=colour, background=background, images=images, classes=classes, broken=broken)
    for side, images, classes, broken in ((8, 8, 0, 0.0), (32, 900, 2, 0.5), (700, 10**6, 0, 0.0))
    for colour in (True, False)
    for background in (None, 0, 255)
]


def test_proposed_recipe_is_valid_and_gives_reasons(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    for facts in ALL_KINDS + [replace(facts, has_gpu=True) for facts in ALL_KINDS]:
        text = propose_recipe(tmp_path / 'odd "name"\n# \x07', facts)
        path.write_text(text)
        recipe = load_recipe(path)
        assert recipe.data.options.root == tmp_path / 'odd "name"\n# \x07'
        assert max(map(len, text.splitlines())) <= 200

        keys = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
        assert sum(line.startswith("# ") for line in text.splitlines()) > len(keys) / 3
        assert recipe.losses[0].wiring.start_epoch == "50%"
        for epochs in (1, 2, 24):
            load_recipe(path, [f"train.epochs={epochs}"])
        tables = tomllib.loads(text)
        assert tables["run"]["name"] == "odd-name"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("Cats & dogs", "Cats-dogs"),
        ("日本", "images"),
        ("latest", "images"),
        ("x" * 80, "x" * 64),
        ("-a.b_", "a.b"),
    ],
)
def test_run_is_named_after_the_folder(folder: str, name: str) -> None:
    assert run_name(Path("/data") / folder) == name


def test_too_few_images_and_invalid_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path} has 7 training images: at least 8 are needed"):
        propose_recipe(tmp_path, replace(SYMBOLS, images=7))
    with pytest.raises(InputError, match=r"'/a\\udcff' cannot be written as TOML: rename the folder"):
        propose_recipe(Path("/a\udcff"), SYMBOLS)
