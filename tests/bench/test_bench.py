"""`sslkit bench` with a simulated clock, so that results do not depend on the machine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from sslkit.bench import bench
from sslkit.bench.costs import ADVICE, find_bottleneck, shares
from sslkit.bench.stages import StageRunner
from sslkit.cli.bench import print_result
from sslkit.cli.main import app
from sslkit.data.store import TensorStore
from sslkit.errors import TrainingError
from sslkit.recipe.load import load_recipe
from sslkit.training import fit
from sslkit.training.callback import RunCallback
from sslkit.training.events import Reporter
from sslkit.training.preparation import prepare
from sslkit.training.step.training_step import ViewMaker
from sslkit_backbones.convnet import ConvNet
from sslkit_selfcls.head import SelfClassifierHead


@pytest.fixture
def slow_down(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str, float], None]:
    """Function that makes a method take a given number of seconds of the simulated clock."""
    now = [0.0]
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def slow_down(owner: type, name: str, seconds: float) -> None:
        original = getattr(owner, name)

        def slowed(*args: Any, **kwargs: Any) -> Any:
            now[0] += seconds
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, slowed)

    return slow_down


@pytest.mark.parametrize(
    ("owner", "name", "cost"),
    [
        (SelfClassifierHead, "embed", "heads and losses"),
        (ViewMaker, "__call__", "views"),
        (TensorStore, "gather", "data"),
        (RunCallback, "record", "logging"),
    ],
)
def test_the_slow_part_is_the_bottleneck(
    owner: type, name: str, cost: str, tiny: Path, slow_down: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_down(ConvNet, "forward", 4.0)
    slow_down(owner, name, 1.0)
    if cost == "data":  # as if the images were not in the memory of the training device
        monkeypatch.setattr("sslkit.assembly.assemble.is_resident", lambda images, device: False)
    result = bench.bench(load_recipe(tiny), rounds=2, seconds=8.0)
    assert result["protocol"]["steps_per_round"] == 2
    assert result["cost"] == {"model": 4.0, "heads and losses": 0, "views": 0, "data": 0, "logging": 0} | {cost: 1.0}
    assert result["ratios"] == [0.8, 0.8]
    assert result["images_per_second"] == {"ceiling": 64.0, "end_to_end": 51.2}
    assert (result["bottleneck"], result["advice"]) == (cost, ADVICE[cost])


def test_shares_of_a_step_sum_to_at_most_1() -> None:
    assert shares({"model": 0.5, "views": 0.25}, step=1.0) == {"model": 0.5, "views": 0.25}
    # On a shared machine, the backbone alone can be measured slower than complete training.
    assert shares({"model": 1.5, "views": 0.5, "data": 0.0}, step=1.0) == {"model": 0.75, "views": 0.25, "data": 0.0}


def test_no_share_is_above_1_where_the_stages_are_measured_slower_than_the_training(tiny: Path, slow_down: Any) -> None:
    slow_down(ConvNet, "forward", 1.0)
    slow_down(StageRunner, "step", 3.0)
    result = bench.bench(load_recipe(tiny), rounds=2, seconds=8.0)
    assert result["ratios"] == [4.0, 4.0]
    assert result["ratio"] == 1.0
    assert result["share"] == {"model": 1.0, "heads and losses": 0, "views": 0, "data": 0, "logging": 0}


def test_steps_of_each_stage_count_from_0_as_in_training(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(tiny)
    hardware, assembly, _ = prepare(recipe, Reporter())
    runner = StageRunner(assembly, hardware)
    method, calls = runner.learner.method, []
    forward, after_backward = method.forward, method.after_backward
    monkeypatch.setattr(method, "forward", lambda batch: calls.append((batch.step, batch.epoch)) or forward(batch))
    monkeypatch.setattr(method, "after_backward", lambda step: calls.append(step) or after_backward(step))
    per_epoch = assembly.context.steps_per_epoch
    for stage in ("backbone", "model", "data"):
        calls.clear()
        runner.start(stage)
        for _ in range(per_epoch + 1):
            runner.step()
        expected = [call for step in range(per_epoch + 1) for call in ((step, step // per_epoch), step)]
        assert calls == ([] if stage == "backbone" else expected)


def test_near_the_ceiling_the_model_is_the_bottleneck() -> None:
    assert find_bottleneck(0.95, {"model": 1.0, "views": 0.05}) == "model"


def test_the_command_prints_the_result_and_leaves_no_files(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--set", "train.precision=float32", "--rounds", "2", "--seconds", "0", "--json"]
    result = json.loads(CliRunner().invoke(app, ["bench", str(tiny), *options]).stdout)
    assert result["ratio"] == pytest.approx(min(1, sum(result["ratios"]) / 2))
    assert sum(result["share"].values()) <= 1 + 1e-9
    assert set(result["seconds_per_step"]) == {"backbone", "model", "views", "data", "end_to_end"}
    assert result["protocol"]["precision"] == "float32"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]
    print_result(result)
    printed = capsys.readouterr().out
    assert f"{result['ratio']:.1%} ({min(result['ratios']):.1%} to {max(result['ratios']):.1%})" in printed
    assert f"limited by {result['bottleneck']}: {ADVICE[result['bottleneck']]}\n" in printed


def test_a_signal_that_stops_training_interrupts_the_measurement(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = RunCallback.record

    def record_with_signal(self: RunCallback, output: Any, row: Any) -> None:
        record(self, output, row)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunCallback, "record", record_with_signal)
    with pytest.raises(KeyboardInterrupt):
        bench.bench(load_recipe(tiny), rounds=2, seconds=0.0)


def test_an_error_before_the_first_step_is_raised(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise TrainingError("not here")

    monkeypatch.setattr(fit, "_trainer", refuse)
    with pytest.raises(TrainingError, match="not here"):
        bench.bench(load_recipe(tiny), rounds=1, seconds=1.0)
