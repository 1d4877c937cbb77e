"""``sslkit eval``: multiple evaluators, a different data set, baselines, fractions of the labels, and invalid
arguments."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from sslkit.assembly.assemble import assemble
from sslkit.cli.evaluate import print_evaluation
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.evaluation.run_subject import RunSubject
from sslkit.recipe.load import load_recipe
from sslkit.runs.evaluation_result import EvaluationResult
from sslkit.runs.run import Run
from sslkit.training.monitor.validation import ValidationMonitor
from sslkit.training.train import train


@pytest.fixture(scope="module")
def trained(tiny_recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(tiny_recipe_text)
    return train(load_recipe(folder / "tiny.toml"), folder / "runs").path


def test_several_evaluations_in_one_table_and_one_json(cli, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--linear", "--knn", "--fractions", "0.1,1", "--seeds", "2", "--baseline", "random")
    asked += ("--set", "linear.folds=3", "--set", "linear.penalties=[0.1,0.01]")
    done = cli("eval", trained, *asked, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {"format", "run", "evaluated_with", "evaluators", "notes"}
    assert (result["format"], result["notes"]) == (1, [])
    assert result["evaluated_with"] == {"device": "cpu", "sslkit": "0.1.0", "torch": torch.__version__}
    linear, knn = (result["evaluators"][name] for name in ("linear", "knn"))
    assert set(result["evaluators"]) == {"linear", "knn"}
    assert set(linear["baselines"]) == set(knn["baselines"]) == {"random_weights"}
    linear_random, knn_random = (part["baselines"]["random_weights"] for part in (linear, knn))
    assert "3 folds" in str(linear["protocol"]["penalty_chosen_on"])
    penalties = linear_random["protocol"]["penalty_chosen"]
    assert linear_random["protocol"] == linear["protocol"] | {"penalty_chosen": penalties}
    assert len(penalties["0.1"]) == 2
    assert linear["protocol"]["trainings"] == {"0.1": 2, "1": 1}
    assert linear["protocol"]["images"] == 359
    for metrics in (linear["metrics"], linear_random["metrics"]):
        few = metrics["fractions"]["0.1"]
        assert 0.3 < few["top1"] < metrics["top1"] < 1
        assert few["top1_std"] > 0
    assert knn["metrics"]["top5"] >= knn["metrics"]["top1"] > 0.8
    assert knn["metrics"] != knn_random["metrics"]
    (saved,) = (trained / "evaluations").glob("*.json")
    assert json.loads(saved.read_text()) == result

    print_evaluation(EvaluationResult.from_json(result), protocol_details=False)
    brief = " ".join(capsys.readouterr().out.split())
    assert "linear: 359 test images of digits, seed 7, 2 subsets of each fraction of the labels, baselines" in brief
    assert "penalty" not in brief
    shown = cli("eval", trained, *asked, "--protocol-details").stdout
    rows = [re.split(" {2,}", line.strip()) for line in shown.splitlines()]
    few, few_random = (part["metrics"]["fractions"]["0.1"] for part in (linear, linear_random))
    expected = [
        ["linear top1", *(f"{part['metrics']['top1']:.3f}" for part in (linear, linear_random))],
        ["linear 10 % top1", *(f"{metrics['top1']:.3f} ± {metrics['top1_std']:.3f}" for metrics in (few, few_random))],
        ["knn top1", *(f"{part['metrics']['top1']:.3f}" for part in (knn, knn_random))],
    ]
    assert [row for row in rows if row[0].endswith("top1")] == expected, shown
    assert sum("───" in line for line in shown.splitlines()) == 1, "one table"
    assert shown.index("knn top5") < shown.index("protocol of linear") < shown.index("penalty_chosen_on 1: validation")
    assert shown.index("penalty_chosen_on 1: validation") < shown.index("protocol of knn")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of colour images of two classes, bright and dark."""
    root = tmp_path_factory.mktemp("others")
    random = numpy.random.default_rng(0)
    for split, count in (("train", 20), ("test", 10)):
        for label, level in (("bright", 150), ("dark", 0)):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(level, level + 100, (8, 8, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{number}.png")
    return root


def test_a_linear_probe_on_another_data_set(cli, trained: Path, others: Path, tmp_path: Path) -> None:
    asked = ("eval", trained, "--linear", "--data", "image-folder", "--set", f"data.root={others}")
    done = cli(*asked, "--set", "data.channels=1", "--json", SSLKIT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    linear = result["evaluators"]["linear"]
    assert linear["protocol"]["data"] == "image-folder"
    assert linear["protocol"]["data_options"] == {"root": str(others), "channels": 1}
    assert linear["protocol"]["classes"] == 2
    assert linear["protocol"]["images"] == 20
    assert linear["metrics"] == {"top1": 1.0}

    coloured = cli(*asked, SSLKIT_CACHE=str(tmp_path / "cache"))
    assert coloured.returncode == 2
    assert "the images of 'image-folder' have 3 channels, but the run was trained on 1: set" in coloured.stderr
    misspelt = cli("eval", trained, "--linear", "--data", "digits", "--set", "data.sise=3")
    assert misspelt.returncode == 2
    assert misspelt.stderr == (
        "error: 1 problem in the data set's options\n"
        "  --set data.sise=3: data.sise: unknown option (did you mean 'size'?)\n"
    )


def test_the_validation_split_of_the_data_is_used(
    trained: Path, others: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    root = Path(shutil.copytree(others, tmp_path / "own"))
    shutil.copytree(others / "test", root / "validation")
    data = ImageFolder(ImageFolder.Options.model_validate({"root": str(root), "channels": 1}))
    subject = RunSubject(Run(trained), "cpu", other=("image-folder", data))
    assert len(subject.split("train").images) == 40
    assert len(subject.split("validation").files) == 20
    assert all(file.startswith("validation/") for file in subject.split("validation").files)
    settings = [f"data={{use='image-folder', root='{root}', channels=1}}", "train.batch_size=8"]
    monitor = ValidationMonitor(assemble(load_recipe(tiny, settings)))
    assert monitor.query_split is not None
    assert (len(monitor.bank), len(monitor.queries)) == (40, 20)
    assert all(file.startswith("validation/") for file in monitor.query_split.files)

    for folder in ("validation", "test"):
        shutil.rmtree(root / folder)
    data = ImageFolder(ImageFolder.Options.model_validate({"root": str(root), "channels": 1}))
    cut = RunSubject(Run(trained), "cpu", other=("image-folder", data))
    files = [*cut.split("train").files, *cut.split("validation").files]
    assert sorted(files) == sorted(data.load("train").files), "files of a split cut from training images"


def test_linear_sgd_and_fine_tuning_with_random_weights_as_baseline(cli, trained: Path, others: Path) -> None:
    asked = ["--use", "linear-sgd", "--finetune", "--baseline", "random"]
    asked += ["--set", "linear-sgd.epochs=5", "--set", "linear-sgd.trust_coefficient=1", "--set", "linear-sgd.lr=0.025"]
    asked += ["--set", "finetune.epochs=5", "--set", "finetune.min_steps=0", "--set", "finetune.batch_size=20"]
    asked += ["--data", "image-folder", "--set", f"data.root={others}", "--set", "data.channels=1"]
    done = cli("eval", trained, *asked, COLUMNS="120")
    assert done.returncode == 0, done.stderr
    result = json.loads(max((trained / "evaluations").glob("*.json")).read_text())
    assert set(result["evaluators"]) == {"linear-sgd", "finetune"}
    linear_sgd, finetune = (result["evaluators"][name] for name in ("linear-sgd", "finetune"))
    probe, tuned = linear_sgd["protocol"], finetune["protocol"]
    assert (probe["epochs"], probe["batch_size"], probe["train_images"], probe["images"]) == (5, 64, 36, 20)
    assert (tuned["epochs"], tuned["batch_size"], tuned["train_images"], tuned["images"]) == ({"1": 5}, 20, 40, 20)
    assert probe["trainings"] == tuned["trainings"] == {"1": 1}
    curves = linear_sgd["metrics"]["curves"]
    assert len(curves) == 5
    assert curves[-1]["train_loss"] < curves[0]["train_loss"]
    assert linear_sgd["metrics"]["top1"] == finetune["metrics"]["top1"] == 1, "bright and dark"
    # The network with random weights selects from the same learning rates.
    scratch = finetune["baselines"]["random_weights"]["protocol"]
    assert scratch["lr_backbones"] == tuned["lr_backbones"] == [0.01, 0.05]
    assert scratch["lr_backbone_chosen"] == tuned["lr_backbone_chosen"] == {"1": [0.01]}, "equal accuracy with both"
    for name, part in result["evaluators"].items():
        baseline = part["baselines"]["random_weights"]["metrics"]["top1"]
        assert re.search(rf"^ {name} top1 +1.000 +{baseline:.3f}", done.stdout, re.MULTILINE), done.stdout


def test_segmentation_of_data_with_masks(cli, trained: Path) -> None:
    asked = ["--segment", "--set", "segment.epochs=2", "--set", "segment.width=8", "--data", "digit-scenes"]
    asked += ["--set", "data.train=16", "--set", "data.test=8", "--set", "data.side=32", "--baseline", "random"]
    done = cli("eval", trained, *asked, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    segment = result["evaluators"]["segment"]
    protocol, random = segment["protocol"], segment["baselines"]["random_weights"]
    assert (protocol["data"], protocol["train_images"], protocol["images"]) == ("digit-scenes", 16, 8)
    assert (protocol["epochs"], protocol["image_size"], protocol["train_backbone"]) == (2, "32x32", False)
    assert "feature pyramid" in protocol["pixel_head"]
    assert protocol["head"] == "selfcls-mlp"
    assert random["protocol"] == protocol
    assert set(segment["metrics"]) == set(random["metrics"]) == {"miou", "pixel_accuracy"}
    assert all(0 < value < 1 for value in segment["metrics"].values())
    assert all(0 <= value < 1 for value in random["metrics"].values())
    assert segment["metrics"] != random["metrics"]


def test_segmentation_of_pictures_of_pets(cli, others: Path, tiny: Path, tmp_path: Path) -> None:
    data = f"data={{use='image-folder', root='{others}', channels=3}}"
    coloured = cli("train", tiny, "--json", "--set", data, "--set", "train.batch_size=8", "--set", "train.epochs=1")
    run = json.loads(coloured.stdout)["run"]
    base = tmp_path / "pets" / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations" / "trimaps").mkdir(parents=True)
    for name, lines in (
        ("trainval", "Abyssinian_1 1 1 1\nbeagle_1 2 2 1\n" * 8),
        ("test", "Abyssinian_2 1 1 1\nbeagle_2 2 2 1\n"),
    ):
        (base / "annotations" / f"{name}.txt").write_text(lines)
    for name in ("Abyssinian_1", "Abyssinian_2", "beagle_1", "beagle_2"):
        pixels = numpy.zeros((32, 32), numpy.uint8)
        pixels[:, 16:] = 200
        Image.fromarray(pixels).convert("RGB").save(base / "images" / f"{name}.jpg")
        Image.fromarray(pixels // 200 + 1).save(base / "annotations" / "trimaps" / f"{name}.png")
    asked = ["--segment", "--data", "oxford-pets", "--set", "segment.width=8", "--set", "segment.epochs=60"]
    asked += ["--set", f"data.root={tmp_path / 'pets'}", "--set", "data.download=false", "--set", "data.size=32"]
    done = cli("eval", run, *asked, "--json", SSLKIT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    segment = result["evaluators"]["segment"]
    protocol = segment["protocol"]
    assert (protocol["data"], protocol["train_images"], protocol["images"]) == ("oxford-pets", 14, 2)
    assert segment["metrics"]["pixel_accuracy"] > 0.7, "bright and dark"


def test_fine_tuning_with_few_labels_over_seeds(cli, trained: Path) -> None:
    asked = ["--finetune", "--fractions", "0.05,1", "--seeds", "2", "--baseline", "random"]
    asked += ["--set", "finetune.epochs=1", "--set", "finetune.lr_backbones=[0.01]", "--set", "finetune.min_steps=20"]
    done = cli("eval", trained, *asked, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    finetune = result["evaluators"]["finetune"]
    for metrics in (finetune["metrics"], finetune["baselines"]["random_weights"]["metrics"]):
        assert set(metrics["fractions"]) == {"0.05"}
        assert set(metrics["fractions"]["0.05"]) == {"top1", "top1_std", "top5", "top5_std"}
        assert metrics["top1"] > metrics["fractions"]["0.05"]["top1"] > 0
    protocol = finetune["protocol"]
    assert protocol["trainings"] == {"0.05": 2, "1": 1}
    assert protocol["labels_used"] == {"0.05": 70, "1": 1438}


def test_a_recipe_s_data_are_used(cli, trained: Path, others: Path, tiny: Path, tmp_path: Path) -> None:
    same = cli("eval", trained, "--knn", "--data", tiny, "--json")
    assert same.returncode == 0, same.stderr
    assert "data_options" not in json.loads(same.stdout)["evaluators"]["knn"]["protocol"], "the run's own data"

    data = f'use = "image-folder"\nroot = "{others}"\nchannels = 3\n'
    tiny.write_text(tiny.read_text().replace('use = "digits"\nsize = 8\n', data))
    asked = ("--data", tiny, "--set", "data.channels=1")
    done = cli("eval", trained, "--knn", *asked, "--json", SSLKIT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    protocol = result["evaluators"]["knn"]["protocol"]
    assert (protocol["data"], protocol["images"], protocol["bank_images"]) == ("image-folder", 20, 40)
    assert protocol["data_options"] == {"root": str(others), "channels": 1}
    assert result["evaluators"]["knn"]["metrics"] == {"top1": 1.0}
