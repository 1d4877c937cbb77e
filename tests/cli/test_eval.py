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
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.evaluation.run_subject import RunSubject
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.monitor.validation import Monitor
from sslkit.training.train import train


@pytest.fixture(scope="module")
def trained(tiny_recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(tiny_recipe_text)
    return train(load_recipe(folder / "tiny.toml"), folder / "runs").path


def test_several_evaluations_in_one_table_and_one_json(cli, trained: Path) -> None:
    asked = ("--linear", "--knn", "--fractions", "0.1,1", "--seeds", "2", "--baseline", "random")
    asked += ("--set", "linear.folds=3")
    done = cli("eval", trained, *asked, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    told = {"run", "evaluated_with", "protocol", "baselines", "baseline_protocols"}
    assert set(result) == {*told, "linear", "knn"}
    assert result["evaluated_with"] == {"device": "cpu", "sslkit": "0.1.0", "torch": torch.__version__}
    assert set(result["baselines"]) == {"linear_random_weights", "knn_random_weights"}
    assert "3 folds" in str(result["protocol"]["linear"]["penalty_chosen_on"])
    chosen, floor = result["protocol"]["linear"], result["baseline_protocols"]["linear_random_weights"]
    assert floor == chosen | {"penalty_chosen": floor["penalty_chosen"]}
    assert len(floor["penalty_chosen"]["0.1"]) == 2
    assert result["protocol"]["linear"]["trainings"] == {"0.1": 2, "1": 1}
    assert result["protocol"]["linear"]["images"] == 359
    for figures in (result["linear"], result["baselines"]["linear_random_weights"]):
        few = figures["fractions"]["0.1"]
        assert 0.3 < few["top1"] < figures["top1"] < 1
        assert few["top1_std"] > 0
    assert result["knn"]["top5"] >= result["knn"]["top1"] > 0.8
    assert result["knn"] != result["baselines"]["knn_random_weights"]
    (kept,) = (trained / "evaluations").glob("*.json")
    assert json.loads(kept.read_text()) == result

    shown = cli("eval", trained, *asked).stdout
    rows = [re.split(" {2,}", line.strip()) for line in shown.splitlines()]
    floors = result["baselines"]
    few, scratch = (each["fractions"]["0.1"] for each in (result["linear"], floors["linear_random_weights"]))
    wanted = [
        ["linear top1", *(f"{each['top1']:.3f}" for each in (result["linear"], floors["linear_random_weights"]))],
        ["linear 10 % top1", *(f"{each['top1']:.3f} ± {each['top1_std']:.3f}" for each in (few, scratch))],
        ["knn top1", *(f"{each['top1']:.3f}" for each in (result["knn"], floors["knn_random_weights"]))],
    ]
    assert [row for row in rows if row[0].endswith("top1")] == wanted, shown
    assert sum("───" in line for line in shown.splitlines()) == 1, "one table"
    assert shown.index("knn top5") < shown.index("protocol of linear") < shown.index("penalty_chosen_on 1: validation")
    assert shown.index("penalty_chosen_on 1: validation") < shown.index("protocol of knn")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_several_processes_are_refused(cli, trained: Path, rank: str) -> None:
    started = {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "2"}
    before = list((trained / "evaluations").iterdir())
    done = cli("eval", trained, **started, RANK=rank, LOCAL_RANK=rank)
    assert done.returncode == 2
    assert done.stderr == ("process 1: " if rank == "1" else "") + (
        "error: `sslkit eval` runs in one process, but torchrun started 2, and each would save the result: "
        "start it without torchrun\n"
    )
    assert list((trained / "evaluations").iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fractions", "0.1"], "--fractions and --seeds need an evaluation that trains: --linear or --finetune"),
        (
            ["--linear", "--finetune", "--protocol", "report", "--fractions", "0.1"],
            "--fractions and --seeds are not for the report's probe (--protocol report), which is trained once, on all",
        ),
        (
            ["--use", "linear-sgd", "--linear", "--seeds", "2"],
            "--fractions and --seeds are not for the report's probe (--protocol report), which is trained once, on all",
        ),
        (
            ["--finetune", "--use", "linear", "--seeds", "3"],
            "2 problems in the evaluation's options\n"
            "  sslkit eval: finetune.seeds: draws are of fractions below 1, and fractions has none (0.1 say); on all "
            "labels there is one training, found 3\n"
            "  sslkit eval: linear.seeds: draws are",
        ),
        (["--linear", "--fractions", "a"], "--fractions takes numbers with commas between, such as 0.01,0.1, not 'a'"),
        (
            ["--linear", "--fractions", "0,1.5"],
            "2 problems in the evaluation's options\n"
            "  sslkit eval: linear.fractions.0: should be greater than 0, found 0.0\n"
            "  sslkit eval: linear.fractions.1: should be less than or equal to 1, found 1.5",
        ),
        (
            ["--linear", "--set", "linear.fold=3", "--set", "knn.temperature=1"],
            "2 problems in the evaluation's options\n"
            "  --set knn.temperature=1: knn: this evaluation was not asked for (there are linear)\n"
            "  --set linear.fold=3: linear.fold: unknown option (did you mean 'folds'?)",
        ),
        (
            ["--linear", "--finetune", "--set", "linear=5", "--set", "finetune.crop_scale=[1.0, 0.5]"],
            "--set linear=5: linear: must be a table of options, not 5 (set one option, as in linear.OPTION=VALUE)",
        ),
        (
            ["--finetune", "--set", "finetune.crop_scale=[1.0, 0.5]"],
            "finetune.crop_scale: the smaller value must come first: [0.5, 1]",
        ),
        (["--use", "liner"], "no installed evaluator is called 'liner': did you mean 'linear'?"),
        (["--linear", "--device", "cuda"], 'device "cuda" is not available; use cpu or "auto"'),
    ],
    ids=[
        "fractions without",
        "report",
        "report by name",
        "seeds without",
        "no number",
        "out of range",
        "options",
        "no table",
        "crops",
        "name",
        "device",
    ],
)
def test_a_mistake_is_said_before_anything_is_computed(cli, trained: Path, arguments: list[str], said: str) -> None:
    kept = len(list((trained / "evaluations").iterdir()))
    done = cli("eval", trained, *arguments, COLUMNS="300")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(list((trained / "evaluations").iterdir())) == kept


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes, bright and dark, in grey and in colour alike."""
    root = tmp_path_factory.mktemp("others")
    random = numpy.random.default_rng(0)
    for split, count in (("train", 20), ("test", 10)):
        for label, level in (("bright", 150), ("dark", 0)):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(level, level + 100, (8, 8, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{number}.png")
    return root


def test_features_are_probed_on_another_data_set(cli, trained: Path, others: Path, tmp_path: Path) -> None:
    asked = ("eval", trained, "--linear", "--data", "image-folder", "--set", f"data.root={others}")
    done = cli(*asked, "--set", "data.channels=1", "--json", SSLKIT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["protocol"]["linear"]["data"] == "image-folder"
    assert result["protocol"]["linear"]["data_options"] == {"root": str(others), "channels": 1}
    assert result["protocol"]["linear"]["classes"] == 2
    assert result["protocol"]["linear"]["images"] == 20
    assert result["linear"] == {"top1": 1.0}

    coloured = cli(*asked, SSLKIT_CACHE=str(tmp_path / "cache"))
    assert coloured.returncode == 2
    assert "the images of 'image-folder' have 3 channels, but the run was trained on 1: set" in coloured.stderr
    misspelt = cli("eval", trained, "--linear", "--data", "digits", "--set", "data.sise=3")
    assert misspelt.returncode == 2
    assert misspelt.stderr == (
        "error: 1 problem in the data set's options\n"
        "  --set data.sise=3: data.sise: unknown option (did you mean 'size'?)\n"
    )


def test_a_validation_split_of_the_data_is_the_one_that_is_used(
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
    monitor = Monitor(assemble(load_recipe(tiny, settings)))
    assert monitor.query_split is not None
    assert (len(monitor.bank), len(monitor.queries)) == (40, 20)
    assert all(file.startswith("validation/") for file in monitor.query_split.files)

    for folder in ("validation", "test"):
        shutil.rmtree(root / folder)
    data = ImageFolder(ImageFolder.Options.model_validate({"root": str(root), "channels": 1}))
    cut = RunSubject(Run(trained), "cpu", other=("image-folder", data))
    files = [*cut.split("train").files, *cut.split("validation").files]
    assert sorted(files) == sorted(data.load("train").files), (
        "where a split is cut from training images, files stay known"
    )


def test_the_report_s_probe_and_fine_tuning_beside_training_from_scratch(cli, trained: Path, others: Path) -> None:
    asked = ["--linear", "--protocol", "report", "--finetune", "--baseline", "random"]
    asked += ["--set", "linear-sgd.epochs=5", "--set", "linear-sgd.trust_coefficient=1"]
    asked += ["--set", "finetune.epochs=5", "--set", "finetune.min_steps=0", "--set", "finetune.batch_size=20"]
    asked += ["--data", "image-folder", "--set", f"data.root={others}", "--set", "data.channels=1"]
    done = cli("eval", trained, *asked, COLUMNS="120")
    assert done.returncode == 0, done.stderr
    result = json.loads(max((trained / "evaluations").glob("*.json")).read_text())
    assert set(result["protocol"]) == {"linear-sgd", "finetune"}
    probe, tuned = (result["protocol"][name] for name in ("linear-sgd", "finetune"))
    assert (probe["epochs"], probe["batch_size"], probe["train_images"], probe["images"]) == (5, 64, 36, 20)
    assert (tuned["epochs"], tuned["batch_size"], tuned["train_images"], tuned["images"]) == ({"1": 5}, 20, 40, 20)
    assert probe["trainings"] == tuned["trainings"] == {"1": 1}
    curves = result["linear-sgd"]["curves"]
    assert len(curves) == 5
    assert curves[-1]["train_loss"] < curves[0]["train_loss"]
    assert result["linear-sgd"]["top1"] == result["finetune"]["top1"] == 1, "bright and dark"
    # The network with random weights has the same rates to choose from.
    scratch = result["baseline_protocols"]["finetune_random_weights"]
    assert scratch["lr_backbones"] == tuned["lr_backbones"] == [0.01, 0.05]
    assert scratch["lr_backbone_chosen"] == tuned["lr_backbone_chosen"] == {"1": [0.01]}, "both are right with either"
    for name in ("linear-sgd", "finetune"):
        floor = result["baselines"][f"{name}_random_weights"]["top1"]
        assert re.search(rf"^ {name} top1 +1.000 +{floor:.3f}", done.stdout, re.MULTILINE), done.stdout


def test_segmentation_of_data_with_masks(cli, trained: Path) -> None:
    asked = ["--segment", "--set", "segment.epochs=2", "--set", "segment.width=8", "--data", "digit-scenes"]
    asked += ["--set", "data.train=16", "--set", "data.test=8", "--set", "data.side=32", "--baseline", "random"]
    done = cli("eval", trained, *asked, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    protocol = result["protocol"]["segment"]
    assert (protocol["data"], protocol["train_images"], protocol["images"]) == ("digit-scenes", 16, 8)
    assert (protocol["epochs"], protocol["image_size"], protocol["train_backbone"]) == (2, "32x32", False)
    assert "feature pyramid" in protocol["pixel_head"]
    assert protocol["head"] == "selfcls-mlp"
    floor = result["baselines"]["segment_random_weights"]
    assert result["baseline_protocols"]["segment_random_weights"] == protocol
    assert set(result["segment"]) == set(floor) == {"miou", "pixel_accuracy"}
    assert all(0 < value < 1 for value in result["segment"].values())
    assert all(0 <= value < 1 for value in floor.values())
    assert result["segment"] != floor


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
    protocol = result["protocol"]["segment"]
    assert (protocol["data"], protocol["train_images"], protocol["images"]) == ("oxford-pets", 14, 2)
    assert result["segment"]["pixel_accuracy"] > 0.7, "bright and dark"


def test_fine_tuning_with_few_labels_over_seeds(cli, trained: Path) -> None:
    asked = ["--finetune", "--fractions", "0.05,1", "--seeds", "2", "--baseline", "random"]
    asked += ["--set", "finetune.epochs=1", "--set", "finetune.lr_backbones=[0.01]"]
    done = cli("eval", trained, *asked, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    tuned, floor = result["finetune"], result["baselines"]["finetune_random_weights"]
    for figures in (tuned, floor):
        assert set(figures["fractions"]) == {"0.05"}
        assert set(figures["fractions"]["0.05"]) == {"top1", "top1_std", "top5", "top5_std"}
        assert figures["top1"] > figures["fractions"]["0.05"]["top1"] > 0
    protocol = result["protocol"]["finetune"]
    assert protocol["trainings"] == {"0.05": 2, "1": 1}
    assert protocol["labels_used"] == {"0.05": 70, "1": 1438}


def test_the_data_of_a_recipe_are_evaluated_on(cli, trained: Path, others: Path, tiny: Path, tmp_path: Path) -> None:
    same = cli("eval", trained, "--knn", "--data", tiny, "--json")
    assert same.returncode == 0, same.stderr
    assert "data_options" not in json.loads(same.stdout)["protocol"]["knn"], "the run's own data, by another road"

    data = f'use = "image-folder"\nroot = "{others}"\nchannels = 3\n'
    tiny.write_text(tiny.read_text().replace('use = "digits"\nsize = 8\n', data))
    asked = ("--data", tiny, "--set", "data.channels=1")
    done = cli("eval", trained, "--knn", *asked, "--json", SSLKIT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    protocol = result["protocol"]["knn"]
    assert (protocol["data"], protocol["images"], protocol["bank_images"]) == ("image-folder", 20, 40)
    assert protocol["data_options"] == {"root": str(others), "channels": 1}
    assert result["knn"] == {"top1": 1.0}


def test_figures_that_were_found_before_something_fails_are_kept(cli, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run", symlinks=True)
    shutil.rmtree(run / "evaluations")
    (run / "evaluations").mkdir()
    done = cli("eval", run, "--knn", "--segment", "--baseline", "random", "--data", "digits")
    assert done.returncode == 2
    assert "has no masks" in done.stderr
    (kept,) = [json.loads(path.read_text()) for path in (run / "evaluations").iterdir()]
    assert kept["knn"]["top1"] > 0
    assert kept["baselines"]["knn_random_weights"]["top1"] > 0
    assert list(kept["protocol"]) == ["knn"]


def test_figures_that_cannot_be_saved_are_shown_all_the_same(cli, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "evaluations", ignore_errors=True)
    (run / "evaluations").touch()
    said = f"error: the figures could not be saved: File exists: {run / 'evaluations'}\n"
    done = cli("eval", run, "--knn", "--json")
    assert (done.returncode, done.stderr) == (1, said)
    figures = json.loads(done.stdout)["knn"]
    assert figures["top1"] > 0.8
    table = cli("eval", run, "--knn")
    assert (table.returncode, table.stderr) == (1, said)
    assert f"{figures['top1']:.3f}" in table.stdout
