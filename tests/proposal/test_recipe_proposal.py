"""Each rule by which a recipe is proposed, and the recipe they come to."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from sslkit.errors import InputError
from sslkit.proposal import rules
from sslkit.proposal.rules import Facts
from sslkit.proposal.write_recipe import propose, run_name
from sslkit.recipe.load import load_recipe

PHOTOGRAPHS = Facts(
    images=50_000, side=32, one_size=True, colour=True, background=None, classes=0, broken=0.0, accelerated=False
)
FIGURES = replace(PHOTOGRAPHS, images=1797, side=8, colour=False, background=3)


@pytest.mark.parametrize(
    ("side", "accelerated", "view", "stored"),
    [(8, False, 16, 16), (16, False, 16, 16), (32, False, 32, 32), (40, False, 32, 40), (500, False, 32, 64),
     (64, True, 64, 64), (500, True, 128, 256)],
)  # fmt: skip
def test_sizes(side: int, accelerated: bool, view: int, stored: int) -> None:
    facts = replace(PHOTOGRAPHS, side=side, accelerated=accelerated)
    assert (rules.view_size(facts).value, rules.stored_size(facts).value) == (view, stored)


def test_what_is_cut_from_images_that_are_not_square_is_said() -> None:
    assert rules.stored_size(PHOTOGRAPHS).why == "the images' own"
    assert "the middle square is kept" in rules.stored_size(replace(PHOTOGRAPHS, square=False)).why


def test_figures_stay_whole_and_are_not_mirrored() -> None:
    dark = rules.views(FIGURES)
    assert (dark["use"].value, dark["padding"].value, "flip_p" in dark) == ("affine", "zeros", False)
    assert "Nothing is mirrored" in dark["use"].why
    assert rules.views(replace(FIGURES, background=250))["padding"].value == "border"
    assert rules.views(replace(FIGURES, background=None))["use"].value == "crops"
    assert rules.views(replace(FIGURES, colour=True))["global_scale"].value == [0.5, 1.0]


def test_photographs_are_cropped_and_mirrored() -> None:
    coloured, grey = rules.views(PHOTOGRAPHS), rules.views(replace(PHOTOGRAPHS, colour=False))
    assert (coloured["use"].value, coloured["flip_p"].value) == ("crops", 0.5)
    assert "hue" not in coloured
    assert [grey[name].value for name in ("saturation", "hue", "grayscale_p")] == [0.0, 0.0, 0.0]
    assert "global_scale" not in rules.views(replace(PHOTOGRAPHS, accelerated=True))


def test_the_backbone_is_what_the_hardware_can_bear() -> None:
    assert rules.backbone(FIGURES)["use"].value == "convnet"
    assert rules.backbone(replace(FIGURES, side=64, background=None))["use"].value == "alexnet"
    assert rules.backbone(PHOTOGRAPHS)["use"].value == "alexnet"
    assert rules.backbone(replace(PHOTOGRAPHS, accelerated=True))["use"].value == "resnet18"
    assert rules.learning_rate(FIGURES).value > rules.learning_rate(PHOTOGRAPHS).value


@pytest.mark.parametrize(
    ("images", "accelerated", "batch", "epochs"),
    [(8, False, 8, 400), (100, False, 32, 400), (1797, False, 64, 72), (6000, False, 256, 87),
     (50_000, False, 256, 30), (50_000, True, 256, 103), (2_000_000, True, 256, 30)],
)  # fmt: skip
def test_batch_and_epochs(images: int, accelerated: bool, batch: int, epochs: int) -> None:
    facts = replace(PHOTOGRAPHS, images=images, accelerated=accelerated)
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
def test_classes(images: int, known: int, classes: int, styles: list[int]) -> None:
    facts = replace(PHOTOGRAPHS, images=images, classes=known)
    assert rules.classifiers(facts).value == [classes] * 40
    assert rules.styles(facts).value == styles
    assert ("is not known" in rules.classifiers(facts).why) == (known == 0)


@pytest.mark.parametrize(("broken", "limit"), [(0.0, None), (0.05, None), (0.2, 0.21), (0.999, 1.0)])
def test_more_broken_files_than_usual_are_allowed_in_so_many_words(broken: float, limit: float | None) -> None:
    choice = rules.broken_limit(replace(PHOTOGRAPHS, broken=broken))
    assert (choice.value if choice else None) == limit


EVERY_SORT = [
    replace(PHOTOGRAPHS, side=side, colour=colour, background=background, images=images, classes=classes, broken=broken)
    for side, images, classes, broken in ((8, 8, 0, 0.0), (32, 900, 2, 0.5), (700, 10**6, 0, 0.0))
    for colour in (True, False)
    for background in (None, 0, 255)
]


def test_what_is_proposed_is_a_good_recipe_with_reasons(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    for facts in EVERY_SORT + [replace(facts, accelerated=True) for facts in EVERY_SORT]:
        text = propose(tmp_path / 'odd "name"\n# \x07', facts)
        path.write_text(text)
        recipe = load_recipe(path)
        assert recipe.data.options.root == tmp_path / 'odd "name"\n# \x07'
        assert max(map(len, text.splitlines())) <= 200
        keys = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
        assert sum(line.startswith("# ") for line in text.splitlines()) > len(keys) / 3
        assert recipe.losses[0].place.start_epoch * 2 in (recipe.train.epochs, recipe.train.epochs - 1)
        tables = tomllib.loads(text)
        assert tables["run"]["name"] == "odd-name"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("Cats & dogs", "Cats-dogs"),
        ("日本", "pictures"),
        ("latest", "pictures"),
        ("x" * 80, "x" * 64),
        ("-a.b_", "a.b"),
    ],
)
def test_the_run_is_called_like_the_folder(folder: str, name: str) -> None:
    assert run_name(Path("/data") / folder) == name


def test_what_cannot_be_proposed_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        propose(tmp_path, replace(FIGURES, images=7))
    assert str(error.value) == f"{tmp_path} has 7 images to train on: 8 are the least, hundreds are few"
    with pytest.raises(InputError, match=r"'/a\\udcff' is no text that TOML can hold: rename the folder"):
        propose(Path("/a\udcff"), FIGURES)
