"""What `sslkit bench` finds, by a clock that moves only as the test says: no figure depends on the machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from sslkit.bench import bench
from sslkit.cli.bench import show
from sslkit.cli.main import app
from sslkit.data.store import TensorStore
from sslkit.errors import TrainingError
from sslkit.recipe.check import load_recipe
from sslkit.training import fit
from sslkit.training.bookkeeping import Bookkeeping
from sslkit.training.learner import Learner
from sslkit_backbones.convnet import ConvNet
from sslkit_selfcls.head import SelfClassifierHead


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str, float], None]:
    """Make a method take so many seconds of the bench's clock."""
    now = [0.0]
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def slow(owner: type, name: str, seconds: float) -> None:
        honest = getattr(owner, name)

        def slowly(*arguments: Any, **named: Any) -> Any:
            now[0] += seconds
            return honest(*arguments, **named)

        monkeypatch.setattr(owner, name, slowly)

    return slow


@pytest.mark.parametrize(
    ("owner", "name", "cost"),
    [
        (SelfClassifierHead, "embed", "heads and losses"),
        (Learner, "make_views", "views"),
        (TensorStore, "gather", "data"),
        (Bookkeeping, "_collect", "logging"),
    ],
)
def test_what_takes_the_time_is_found(owner: type, name: str, cost: str, tiny: Path, slow: Any) -> None:
    slow(ConvNet, "forward", 4.0)
    slow(owner, name, 1.0)
    found = bench.bench(load_recipe(tiny), rounds=2, seconds=8.0)
    assert found["protocol"]["steps_per_round"] == 2
    assert found["cost"] == {"model": 4.0, "heads and losses": 0, "views": 0, "data": 0, "logging": 0} | {cost: 1.0}
    assert found["ratios"] == [0.8, 0.8]
    assert found["images_per_second"] == {"ceiling": 64.0, "end_to_end": 51.2}
    assert (found["limit"], found["advice"]) == (cost, bench.ADVICE[cost])


def test_near_the_ceiling_the_model_is_the_limit() -> None:
    assert bench.limit(0.95, {"model": 1.0, "views": 0.05}) == "model"


ROUNDS = ("--rounds", "2", "--seconds", "0")


def test_the_command_tells_all_and_leaves_nothing_behind(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = CliRunner().invoke(app, ["bench", str(tiny), "--set", "train.precision=float32", *ROUNDS, "--json"])
    record = json.loads(found.stdout)
    assert record["ratio"] == pytest.approx(sum(record["ratios"]) / 2)
    assert set(record["seconds_per_step"]) == {"backbone", "model", "views", "data", "end_to_end"}
    assert record["protocol"]["precision"] == "float32"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]
    show(record)
    shown = capsys.readouterr().out
    assert f"{record['ratio']:.1%} ({min(record['ratios']):.1%} to {max(record['ratios']):.1%})" in shown
    assert f"limited by {record['limit']}: {bench.ADVICE[record['limit']]}\n" in shown


def test_what_stops_it_before_the_first_step_is_said(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise TrainingError("not here")

    monkeypatch.setattr(fit, "_tell_foreign", refuse)
    with pytest.raises(TrainingError, match="not here"):
        bench.bench(load_recipe(tiny), rounds=1, seconds=1.0)
