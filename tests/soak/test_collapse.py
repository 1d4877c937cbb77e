"""Intentional collapses are reported within two epochs, without labels; healthy runs cause no warning."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import metric_rows
from recording_reporter import RecordingReporter

from sslkit.errors import TrainingError
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.train import train
from sslkit.views.affine import Affine
from sslkit_lightly.swav_head import SwavHead
from sslkit_selfcls.head import SelfClassifierHead

SMALL = ["train.batch_size=128", "backbone.width=8", "optimizer.lr=2e-3"]
SELFCLS = [*SMALL, "head.hidden_dims=[64]"]
SWAV = [*SMALL, 'head={use="swav", prototypes=[60], hidden_dim=64}', "loss.use=swav"]
QUEUED = ['head={use="swav", prototypes=[60], hidden_dim="linear"}', 'loss={use="swav", queue_size=1280}']

LONG = ["train.epochs=5", "monitor.every_epochs=5"]
"""Settings without validation and with enough epochs that the second epoch is not the last."""

Cause = Callable[[pytest.MonkeyPatch], None]


def train_and_collect(recipe: Path, runs: Path, settings: list[str]) -> tuple[Run, list[str]]:
    """Train and return the run and its collapse warnings."""
    reporter = RecordingReporter()
    run = train(load_recipe(recipe, settings), runs, reporter)
    return run, [note for note in reporter.notes if note.startswith("warning: collapse")]


def make_views_constant(patch: pytest.MonkeyPatch) -> None:
    apply = Affine.apply
    patch.setattr(Affine, "apply", lambda *args: tuple(map(torch.zeros_like, apply(*args))))


def start_in_one_class(patch: pytest.MonkeyPatch) -> None:
    init = SelfClassifierHead.__init__

    def init_in_one_class(self: SelfClassifierHead, *args: Any) -> None:
        init(self, *args)
        with torch.no_grad():
            self.mlp[-1].bias[0] = 50.0
            self.directions[0].zero_()[:, 0] = -1.0
            self.directions[0][0, 0] = 1.0

    patch.setattr(SelfClassifierHead, "__init__", init_in_one_class)


def start_with_equal_embeddings(patch: pytest.MonkeyPatch) -> None:
    init = SwavHead.__init__

    def init_with_large_bias(self: SwavHead, *args: Any) -> None:
        init(self, *args)
        with torch.no_grad():
            self.projection.bias.fill_(1e3)

    patch.setattr(SwavHead, "__init__", init_with_large_bias)


COLLAPSES: dict[str, tuple[list[str], Cause | None, str]] = {
    "learning rate times 100": (
        [*SELFCLS, "optimizer.lr=0.2"],
        None,
        "features of different images differ in few directions",
    ),
    "learning rate times 100, lars": (
        [*SWAV, 'optimizer={use="lars", lr=60.0, trust_coefficient=0.02}'],
        None,
        "features of different images differ in few directions",
    ),
    "temperature 0.001": ([*SELFCLS, "loss.row_temperature=0.001"], None, "is far above ln K = 2.303"),
    "temperature 0.001, swav": ([*SWAV, "loss.temperature=0.001"], None, "is far above ln K = 4.094"),
    "constant views": (SELFCLS, make_views_constant, "views of different images are all alike (contrast 0)"),
    "all images in one class": (SELFCLS, start_in_one_class, "nearly all images are in one of 10 classes"),
    "queue before embeddings differ": (
        [*SWAV, *QUEUED],
        start_with_equal_embeddings,
        "nearly all images are in one of 60 classes",
    ),
}
"""Mapping from collapse to settings, cause, and part of the expected warning."""


@pytest.fixture(params=COLLAPSES)
def collapse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str], str]:
    """Cause a collapse; return its name, its settings and the expected warning."""
    settings, cause, warning = COLLAPSES[request.param]
    if cause is not None:
        cause(monkeypatch)
    return request.param, [*settings, *LONG], warning


def within_two_epochs(warnings: list[str]) -> bool:
    match = re.match(r"warning: collapse at step (\d+): ", warnings[0]) if warnings else None
    return match is not None and int(match[1]) <= 22


def test_a_collapse_is_reported(collapse: tuple[str, list[str], str], tiny: Path, tmp_path: Path) -> None:
    _, settings, expected = collapse
    _, warnings = train_and_collect(tiny, tmp_path / "runs", settings)
    assert within_two_epochs(warnings), warnings
    assert expected in "\n".join(warnings)


@pytest.mark.soak
def test_a_collapse_is_reported_with_ten_seeds(
    collapse: tuple[str, list[str], str], tiny: Path, tmp_path: Path, record: Callable[..., None]
) -> None:
    name, settings, _ = collapse
    missed = []
    for seed in range(10):
        _, warnings = train_and_collect(tiny, tmp_path / "runs", [*settings, f"run.seed={seed}"])
        missed += [] if within_two_epochs(warnings) else [seed]
    counts = {"collapsed": 10, "reported_within_two_epochs": 10 - len(missed), "missed_seeds": missed}
    record(f"collapse, {name}", counts)
    assert missed == []


@pytest.mark.parametrize("settings", [SELFCLS, SWAV], ids=["selfcls", "swav"])
def test_a_healthy_training_causes_no_warning(settings: list[str], tiny: Path, tmp_path: Path) -> None:
    run, warnings = train_and_collect(tiny, tmp_path / "runs", settings)
    assert warnings == []
    last = {row.metric: row.value for row in metric_rows(run)}
    assert 0.2 < last["monitor/feature_std"] < 1
    assert 15 < last["monitor/effective_rank"] < 32
    assert last["monitor/view_contrast"] > 0.1


def test_a_collapse_stops_the_run_if_the_recipe_says_so(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_in_one_class(monkeypatch)
    with pytest.raises(TrainingError, match=r"collapsed at step 22: nearly all images .* monitor.collapse = \"stop\""):
        train_and_collect(tiny, tmp_path / "runs", [*SELFCLS, "monitor.collapse=stop"])
    _, warnings = train_and_collect(tiny, tmp_path / "runs", [*SELFCLS, "monitor.collapse=off", "train.epochs=1"])
    assert warnings == []


def test_constant_views_are_reported_at_once_as_the_only_cause(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_views_constant(monkeypatch)
    _, (warning,) = train_and_collect(tiny, tmp_path / "runs", SELFCLS)
    assert warning.startswith("warning: collapse at step 11: views of different images are all alike (contrast 0)")
    assert "check the views' options" in warning
    assert "crops may be too small or jitter too strong" in warning
