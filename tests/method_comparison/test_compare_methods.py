"""`sslkit methods compare` on digits, in this process."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from recording_reporter import at_step
from typer.testing import CliRunner, Result

from sslkit.bench import training_time
from sslkit.cli.main import app
from sslkit.method_comparison import training
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.find import all_runs
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run
from sslkit.training.learner import Learner

PROJECTION = """
extends = "tiny.toml"
[train]
epochs = 4
batch_size = 128
[views]
use = "affine"
jitter_p = 0.5
[head]
use = "projection"
hidden_dim = 16
embedding_dim = 8
[loss]
use = "simclr"
"""

MASKED = """
[method]
use = "mae"
"""

METHOD_KEYS = [
    *("method", "recipe", "state", "reason", "accuracies", "random_weights", "discovered_classes", "planned_minutes"),
    *("minutes", "steps", "batch_size", "passes", "images_seen", "views_seen", "views", "own_views", "changes", "runs"),
]
RUN_KEYS = ["seed", "run", "state", "reason", "minutes", "accuracies", "random_weights", "curve", "hardware"]
PROTOCOL_KEYS = [
    *("budget", "data", "training_images", "image_shape", "test_images", "backbone", "batch_size", "settings", "seeds"),
    *("evaluators", "evaluations", "machines", "sslkit", "labels", "test_data", "minutes"),
]


@pytest.fixture
def compare(tiny: Path, tiny_recipe_text: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs the command in a folder with the recipes tiny, contrast and masked."""
    monkeypatch.chdir(tiny.parent)
    (tiny.parent / "recipes").mkdir()
    tiny.rename("recipes/tiny.toml")
    Path("recipes/contrast.toml").write_text(PROJECTION)
    without_head, _, rest = tiny_recipe_text.partition("[head]")
    Path("masked.toml").write_text(f"{without_head}{MASKED}[optimizer]{rest.partition('[optimizer]')[2]}")
    small = ("--set", "backbone.width=4", "--set", "train.precision=float32")
    return lambda *arguments: CliRunner().invoke(app, ["methods", "compare", *arguments, *small])


def test_equal_views_with_a_failing_method(compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("tiny,contrast", "./masked.toml", "--views-seen", "12000", "--json")
    done = compare(*arguments)
    assert done.exit_code == 1, done.stderr
    result = json.loads(done.stdout)
    assert list(result) == ["format", "protocol", "verdict", "kmeans_pixels_acc", "methods", "files"]
    assert list(result["protocol"]) == PROTOCOL_KEYS
    assert [list(method) for method in result["methods"]] == [METHOD_KEYS] * 3
    methods = {method["method"]: method for method in result["methods"]}
    tiny, contrast, masked = (methods[name] for name in ("tiny", "contrast", "masked"))

    assert (tiny["steps"], tiny["views_seen"]) == (contrast["steps"], contrast["views_seen"]) == (23, 23 * 2 * 256)
    assert contrast["changes"] == {"train.batch_size": "128"}
    assert (tiny["own_views"], contrast["own_views"]) == ({}, {"jitter_p": 0.5})
    assert list(tiny["accuracies"]) == ["linear_top1", "knn_top1", "kmeans_acc", "classes_acc"]
    assert list(contrast["accuracies"]) == ["linear_top1", "knn_top1", "kmeans_acc"]
    assert contrast["accuracies"]["knn_top1"] == {
        "mean": contrast["runs"][0]["accuracies"]["knn_top1"], "std": None, "n": 1,
    }  # fmt: skip
    assert 0.5 < contrast["random_weights"]["linear_top1"]["mean"] < 1
    assert (masked["state"], masked["accuracies"], masked["steps"]) == ("failed", {}, None)
    assert "'convnet' does not provide tokens, which the method 'mae' reads" in masked["reason"]

    (run,) = contrast["runs"]
    assert list(run) == RUN_KEYS
    assert [(point["step"], point["views"]) for point in run["curve"]] == [
        (step, 512 * step) for step in (0, 5, 10, 15, 20, 23)
    ]
    assert run["curve"][-1]["minutes"] == run["minutes"] > run["curve"][1]["minutes"] > 0
    assert Path(result["files"]["png"]).stat().st_size > 1000
    rows = list(csv.DictReader(Path(result["files"]["csv"]).read_text().splitlines()))
    assert {row["method"]: row["knn_top1"] for row in rows} == {
        **{name: str(methods[name]["accuracies"]["knn_top1"]["mean"]) for name in ("tiny", "contrast")},
        "masked": "",
    }

    def refuse(*args: Any) -> None:
        raise AssertionError("trained or evaluated twice")

    monkeypatch.setattr(training, "train", refuse)
    monkeypatch.setattr("sslkit.method_comparison.accuracies.evaluate", refuse)
    again = json.loads(compare(*arguments).stdout)
    assert again == result
    (evaluation,) = read_evaluations(Run(Path(run["run"])))[0]
    assert list(evaluation.evaluators) == ["linear", "knn", "cluster"]


def test_equal_time_with_a_simulated_clock_and_a_killed_process(compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(training_time, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    original = Learner.training_step

    def slow_step(learner: Learner, *args: Any) -> Any:
        now[0] += {"selfcls": 2.0, "simclr": 3.0}[next(iter(learner.method.losses))]
        return original(learner, *args)

    monkeypatch.setattr(Learner, "training_step", slow_step)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sslkit.cli.common.resilient_reporter.stderr_reporter", lambda: at_step(25, interrupt))
    arguments = ("tiny,contrast", "--minutes", "1.2", "--seeds", "5", "--json")
    stopped = compare(*arguments)
    assert (stopped.exit_code, stopped.stdout) == (130, "")
    assert "contrast: 24 steps of 256 images, about 1.2 minutes" in stopped.stderr
    assert "finished runs are kept, and the same command continues" in stopped.stderr
    (first,) = all_runs(Path("runs"))
    status = first.status
    assert (status.state, status.steps) == ("interrupted", 36)
    # A killed process leaves the state "running".
    first.write_status("running", status.step, status.steps, status.epoch, status.epochs)

    monkeypatch.setattr("sslkit.cli.common.resilient_reporter.stderr_reporter", lambda: at_step(1, lambda: None))
    monkeypatch.setattr(training_time, "measure_steps", interrupt)  # the plans are not made again
    done = compare(*arguments)
    assert done.exit_code == 0, done.stderr
    assert f"{first.name} continues" in done.stderr
    methods = {method["method"]: method for method in json.loads(done.stdout)["methods"]}
    assert [methods[name]["steps"] for name in ("tiny", "contrast")] == [36, 24]
    assert [methods[name]["planned_minutes"] for name in ("tiny", "contrast")] == [1.2, 1.2]
    assert [len(list(Path("runs", name).iterdir())) for name in ("tiny", "contrast")] == [1, 1]
    for method in methods.values():
        run = Run(Path(method["runs"][0]["run"]))
        rates = [row.value for row in read_metrics(run.metrics) if row.metric == "lr"]
        assert (run.status.step, rates[-1]) == (method["steps"], 0.0), "the cosine ends with the budget"


def test_wrong_options_are_refused_before_training(compare: Any) -> None:
    for arguments, message in (
        (("tiny,contrst", "--epochs", "1"), "there is no recipe 'contrst' in"),
        (("tiny,contrst", "--epochs", "1"), "did you mean 'contrast'?"),
        (("tiny", "--epochs", "1"), "at least two methods"),
        (("tiny,contrast",), "exactly one of --minutes, --views-seen and --epochs"),
        (("tiny,contrast", "--epochs", "0"), "--epochs 0 must be greater than 0"),
        (("tiny,contrast", "--epochs", "1", "--seeds", "a"), "such as 0,1,2, not 'a'"),
        (("tiny,contrast", "--epochs", "1", "--set", "train.epoch=1"), "did you mean 'epochs'"),
        (("tiny,contrast", "--epochs", "1", "--backbone", "resnet"), "no installed backbone is called 'resnet'"),
    ):
        done = compare(*arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert message in " ".join(done.stderr.replace("│", " ").split()), (arguments, done.stderr)
    assert not Path("runs").exists()
