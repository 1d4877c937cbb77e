"""With each recipe, captured steps train like other steps, and the host copies once and launches once per step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from equal_runs import assert_equal_runs
from recording_reporter import RecordingReporter
from shipped_recipes import FROZEN, NARROW_HEAD, NOT_CAPTURED, RECIPES, SHIPPED, SMALL_LOSS, in_one_epoch
from tape_graphs import TapeGraphs

from sslkit.recipe.load import load_recipe
from sslkit.training.events import StepEnded
from sslkit.training.train import train

LOG_EVERY = 6
# Nine steps: three without a graph, the captured step, and replays. Steps 6 and 9 log.
SMALL = ["backbone={use='convnet', width=2}", "train.batch_size=148", "monitor.every_epochs=0", "views.size=8"]
SMALL += [
    "train.precision=float32",
    "train.device=cpu",
    "train.checkpoint_every=1 epochs",
    f"monitor.log_every_steps={LOG_EVERY}",
    "monitor.collapse=off",
]
SMALL_FROZEN = ["positives.k=5", "head.classifiers=[10, 10]"]
OWN = {
    "nnclr": ["loss.queue_size=1024"],
    "emp-ssl": ["views.global_crops=4"],
    "vicreg": ["optimizer.lr=1e-4"],  # its usual rate diverges with this small backbone
    "self-label": ["loss.threshold=0.2"],  # untrained classifiers are never confident
    "gpu/self-label": ["loss.threshold=0.2"],
    "colourisation": ["data.train=1347"],  # as many steps as with digits
    "i-jepa": ["views.size=16"],  # 4 x 4 patches, for four target blocks
    "ruc": ["loss.selection='confidence'", "loss.threshold=0.2"],
}
NOTE = "train.capture: a CUDA graph replays the step; it takes 0 MB of GPU memory"


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in NOT_CAPTURED])
def test_a_captured_run_needs_one_copy_and_one_launch_per_step(
    name: str, graphs: TapeGraphs, without_graphs: Callable[..., Any], finished_run: Path, tmp_path: Path
) -> None:
    settings = [*SMALL, *in_one_epoch(name), *OWN.get(name, []), *SMALL_LOSS.get(name, []), *NARROW_HEAD.get(name, [])]
    if name in FROZEN:
        weights = f"backbone={{use='convnet', width=32, weights='run:{finished_run}', train='none'}}"
        settings += [weights, *SMALL_FROZEN]
    recipe = load_recipe(RECIPES / f"{name}.toml", settings)
    launches, host_work = [0], []

    def step_ended(event: StepEnded) -> None:
        step, launched = event.progress.step, graphs.launches - launches[0]
        launches[0] = graphs.launches
        logs = step % LOG_EVERY == 0 or step == event.progress.steps
        if launched and not logs and not graphs.recorded_tape:
            host_work.append((launched, graphs.host_work))
        graphs.start_interval()

    reporter = RecordingReporter(StepEnded, step_ended)
    with graphs:
        run = train(recipe, tmp_path / "captured", reporter)
    assert [note for note in reporter.notes if "train.capture" in note] == [NOTE]
    assert len(host_work) >= 2
    assert set(map(str, host_work)) == {str((1, ["aten::copy_"]))}
    assert_equal_runs(run, without_graphs(recipe, tmp_path / "eager"))
