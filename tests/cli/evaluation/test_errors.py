"""``sslkit eval``: invalid arguments are refused, and results are kept if an evaluator or saving fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


@pytest.mark.parametrize("rank", ["0", "1"])
def test_several_processes_are_refused(cli, finished_run: Path, rank: str) -> None:
    environment = {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "2"}
    before = list((finished_run / "evaluations").iterdir())
    done = cli("eval", finished_run, **environment, RANK=rank, LOCAL_RANK=rank)
    assert done.returncode == 2
    assert done.stderr == ("process 1: " if rank == "1" else "") + (
        "error: `sslkit eval` runs in one process, but torchrun started 2, and each would save the result: "
        "start it without torchrun\n"
    )
    assert list((finished_run / "evaluations").iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fractions", "0.1"], "--fractions and --seeds need an evaluation that trains: add --linear or --finetune"),
        (["--use", "linear-sgd", "--linear", "--seeds", "2"], "linear-sgd trains on all labels"),
        (["--use", "sslkit:linear-sgd", "--finetune", "--fractions", "0.1"], "linear-sgd trains on all labels"),
        (
            ["--finetune", "--use", "linear", "--seeds", "3"],
            "2 problems in the evaluation's options\n"
            "  sslkit eval: finetune.seeds: several seeds need a fraction below 1: add one to fractions, such as 0.1, "
            "or set seeds to 1, found 3\n"
            "  sslkit eval: linear.seeds: several seeds need",
        ),
        (["--linear", "--fractions", "a"], "--fractions takes numbers separated by commas, such as 0.01,0.1, not 'a'"),
        (
            ["--linear", "--fractions", "0,1.5"],
            "2 problems in the evaluation's options\n"
            "  sslkit eval: linear.fractions.0: should be greater than 0, found 0.0\n"
            "  sslkit eval: linear.fractions.1: should be less than or equal to 1, found 1.5",
        ),
        (
            ["--linear", "--set", "linear.fold=3", "--set", "knn.temperature=1"],
            "2 problems in the evaluation's options\n"
            "  --set knn.temperature=1: knn: is not one of the requested evaluators (available: linear)\n"
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
        (
            ["--baseline", "random,pretraind"],
            "--baseline takes random, pretrained or random,pretrained, not 'pretraind'",
        ),
        (["--knn", "--baseline", "pretrained"], "started from random weights, so that there are no pretrained weights"),
        (["--use", "liner"], "no installed evaluator is called 'liner': did you mean 'linear'?"),
        (["--linear", "--device", "cuda"], 'device "cuda" is not available; use cpu or "auto"'),
    ],
    ids=[
        "fractions without",
        "seeds of linear-sgd",
        "fractions of linear-sgd",
        "seeds without",
        "not a number",
        "out of range",
        "options",
        "not a table",
        "crops",
        "unknown baseline",
        "no pretrained weights",
        "unknown name",
        "device",
    ],
)
def test_wrong_arguments_are_refused_before_the_evaluation(
    cli, finished_run: Path, arguments: list[str], message: str
) -> None:
    before = len(list((finished_run / "evaluations").iterdir()))
    done = cli("eval", finished_run, *arguments, COLUMNS="300")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(list((finished_run / "evaluations").iterdir())) == before


def test_results_before_a_failing_evaluator_are_saved(cli, finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    shutil.rmtree(run / "evaluations")
    (run / "evaluations").mkdir()
    done = cli("eval", run, "--knn", "--segment", "--baseline", "random", "--data", "digits")
    assert done.returncode == 2
    assert "has no masks" in done.stderr
    (saved,) = [json.loads(path.read_text()) for path in (run / "evaluations").iterdir()]
    assert list(saved["evaluators"]) == ["knn"]
    assert saved["evaluators"]["knn"]["metrics"]["top1"] > 0
    assert saved["evaluators"]["knn"]["baselines"]["random_weights"]["metrics"]["top1"] > 0


def test_results_that_cannot_be_saved_are_printed(cli, finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    shutil.rmtree(run / "evaluations", ignore_errors=True)
    (run / "evaluations").touch()
    message = f"error: the evaluation could not be saved: File exists: {run / 'evaluations'}\n"
    done = cli("eval", run, "--knn", "--json")
    assert (done.returncode, done.stderr) == (1, message)
    metrics = json.loads(done.stdout)["evaluators"]["knn"]["metrics"]
    assert metrics["top1"] > 0.8
    table = cli("eval", run, "--knn")
    assert (table.returncode, table.stderr) == (1, message)
    assert f"{metrics['top1']:.3f}" in table.stdout
