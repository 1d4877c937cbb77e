from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from sslkit.api import Run
from sslkit.cli.main import app
from sslkit.recipe.load import load_recipe
from sslkit.training.dry_run import dry_run
from sslkit.training.events import Reporter
from sslkit.training.train import train


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the test's folder, with a cache of its own."""
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digits(root: Path, count: int, *, labelled: bool) -> Path:
    found = load_digits()
    for number in range(count):
        split = "test" if number % 5 == 0 else "train"
        folder = root / split / str(found.target[number]) if labelled else root
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.round(found.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.png")
    return root


def init(*arguments: str | Path):
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def test_digits_without_labels_train_by_the_proposed_recipe(place: Path) -> None:
    done = init(digits(place / "digits", 200, labelled=False))
    assert done.exit_code == 0, done.output
    assert "train images   200, unlabelled: " in done.stdout
    assert "background     the same in nearly all, level 0 of 255" in done.stdout
    assert "200 images are few" in done.stdout
    assert done.stdout.endswith("go on with:\n  sslkit train recipe.toml\n")
    text = (place / "recipe.toml").read_text()
    assert "# how many classes there are is not known: 10 are sought" in text
    recipe = load_recipe(place / "recipe.toml")
    assert (recipe.backbone.use, recipe.views.use, recipe.train.batch_size) == ("convnet", "affine", 32)
    found = dry_run(recipe, Reporter())
    assert found["data"] == {"images": 200, "shape": [1, 16, 16]}
    assert found["outputs"]["classifiers"] == {"classes": [10] * 40, "styles": [10, 10]}
    quick = ["train.epochs=2", "loss.classes.start_epoch=1", "optimizer.warmup_epochs=0"]
    assert train(load_recipe(place / "recipe.toml", quick), place / "runs").has_weights


@pytest.mark.soak
def test_unlabelled_digits_are_sorted_into_classes_that_can_be_named(place: Path) -> None:
    assert init(digits(place / "digits", 1797, labelled=False)).exit_code == 0
    run = train(load_recipe(place / "recipe.toml"), place / "runs")
    digits(place / "known", 1797, labelled=True)
    result = Run(run.path).evaluate(
        data="image-folder", data_settings=[f"data.root={place / 'known'}", "data.channels=1", "data.size=16"]
    )
    # Found: 0.981, where 5 classes could give 0.51 at most.
    assert result.evaluators["cluster"].metrics["acc_many_to_one"] > 0.93


def test_class_folders_tell_how_many_classes_there_are_and_an_option_tells_better(place: Path) -> None:
    root = digits(place / "digits", 60, labelled=True)
    found = json.loads(init(root, "--json", "--out", "a.toml").stdout)
    assert found["images"] == {"train": 48, "test": 12}
    assert found["classes"] == [str(digit) for digit in range(10)]
    assert (found["background"], found["colour"], found["copies"]) == (0, 0.0, [])
    assert load_recipe(place / "a.toml").heads[0].options.classifiers == (10,) * 40
    assert init(root, "--classes", "3", "--out", "b.toml").exit_code == 0
    assert load_recipe(place / "b.toml").heads[0].options.classifiers == (3,) * 40


def test_an_odd_folder_is_told_and_trains(place: Path) -> None:
    generator = np.random.default_rng(0)
    root = place / "odd [red]pictures"
    root.mkdir()
    for number in range(40):
        mode = ("L", "RGB", "RGBA", "CMYK", "P", "1")[number % 6]
        pixels = generator.integers(0, 256, ((24, 33)[number % 2], (20, 31, 48)[number % 3], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(root / f"{number}{'.tif' if mode == 'CMYK' else '.png'}")
    (root / "again.png").write_bytes((root / "1.png").read_bytes())
    for name in ("\x1b[31mred.png", "[bold]b.png", "line\nbreak.png", "c.png"):
        (root / name).write_bytes(b"broken")
    (root / "no image.\x1b[31mred").write_text("")
    done = init(root)
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    for line in (
        "broken files   4",
        "copies         1, of 1 pictures",
        r"broken: '\x1b[31mred.png': not an image, or damaged from the start",
        r"broken: 'line\nbreak.png': not an image, or damaged from the start",
        "broken: [bold]b.png: not an image, or damaged from the start",
        "copies: 1.png, again.png",
        r"no images      1 '.\x1b[31mred'",
    ):
        assert line in done.stdout
    text = (place / "recipe.toml").read_text()
    assert "# 8.9% of the files cannot be read: look at them before you go on without them" in text
    assert dry_run(load_recipe(place / "recipe.toml"), Reporter())["data"]["images"] == 41


def test_a_recipe_is_not_overwritten_unasked(place: Path) -> None:
    (place / "recipe.toml").write_text("mine")
    done = init(digits(place / "digits", 20, labelled=False))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: recipe.toml is there already: name another with --out, or replace it with --force\n"
    assert (place / "recipe.toml").read_text() == "mine"
    assert init(place / "digits", "--force").exit_code == 0
    assert (place / "recipe.toml").read_text() != "mine"
    assert "there is no folder nowhere to write r.toml to" in init(place / "digits", "--out", "nowhere/r.toml").stderr
    assert "the image folder missing does not exist" in init("missing", "--force").stderr
