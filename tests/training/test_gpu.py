"""Tests on a real GPU: steps never sync and are captured, resumed runs are bit-identical, metrics equal the CPU's.

Without a GPU, these tests are skipped; ``test_device_sync`` uses fake tensors instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import assert_equal_runs
from recording_reporter import RecordingReporter
from shipped_recipes import FROZEN, GREY, NOT_CAPTURED, RECIPES, SHIPPED, SMALL_LOSS, in_one_epoch, on_digits

from sslkit.api import Run
from sslkit.errors import TrainingError
from sslkit.recipe.load import load_recipe
from sslkit.training.events import StepEnded
from sslkit.training.step import captured_step
from sslkit.training.step.cuda_graphs import CudaGraphs
from sslkit.training.train import resume, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CAPTURED = "train.capture: a CUDA graph replays the step"

SMALL = ["backbone={use='convnet', width=4}", "train.batch_size=64", "monitor.every_epochs=0"]
"""About twenty steps on digits."""


@pytest.mark.parametrize("capture", ["auto", "off"])
@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in FROZEN | NOT_CAPTURED])
def test_steps_never_sync_with_the_gpu(name: str, capture: str, tmp_path: Path) -> None:
    settings = [*SMALL, "train.device=cuda", "monitor.log_every_steps=1000", f"train.capture={capture}"]
    steps: list[int] = []

    def forbid_syncs(event: StepEnded) -> None:
        """Make torch raise an error for every device sync from step 6 to step 12."""
        steps.append(event.progress.step)
        # Step 4 is captured, which syncs.
        torch.cuda.set_sync_debug_mode("error" if 5 <= event.progress.step < 12 else "default")

    recipe = load_recipe(RECIPES / f"{name}.toml", [*settings, *in_one_epoch(name), *SMALL_LOSS.get(name, [])])
    try:
        train(recipe, tmp_path, RecordingReporter(StepEnded, forbid_syncs))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert steps[-1] > 12


@pytest.mark.parametrize("capture", ["auto", "off"])
def test_views_of_two_sizes_can_be_compiled(capture: str, tiny: Path, tmp_path: Path) -> None:
    # Small views end in feature maps of 1 x 1 pixel, where two memory formats have the same strides.
    views = ", ".join(f"{option}={value}" for option, value in (GREY | {"local_crops": 2, "local_size": 18}).items())
    settings = ["train.device=cuda", "train.compile=true", "train.epochs=2", "monitor.every_epochs=0"]
    settings += ["backbone={use='resnet18', stem='imagenet'}", f"views={{use='crops', size=32, {views}}}"]
    reporter = RecordingReporter()
    run = train(load_recipe(tiny, [*settings, f"train.capture={capture}"]), tmp_path, reporter)
    assert run.status.state == "finished"
    assert any(note.startswith(CAPTURED) for note in reporter.notes) == (capture == "auto")


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in FROZEN | NOT_CAPTURED])
def test_a_captured_run_equals_a_run_without_graphs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [*SMALL, "train.device=cuda", "run.deterministic=true", *in_one_epoch(name)]
    settings += SMALL_LOSS.get(name, [])
    recipe, reporter = load_recipe(RECIPES / f"{name}.toml", settings), RecordingReporter()
    run = train(recipe, tmp_path / "captured", reporter)
    assert [note for note in reporter.notes if "train.capture" in note and not note.startswith(CAPTURED)] == []
    monkeypatch.setattr(captured_step, "EAGER_STEPS", 10**9)
    assert_equal_runs(run, train(recipe, tmp_path / "eager"))


def test_each_phase_is_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [*SMALL, "train.device=cuda", "run.deterministic=true", *on_digits("swav"), "train.epochs=2"]
    settings += ["head.freeze_prototypes=8 steps", "loss.queue_size=512", "loss.queue_start=16 steps"]
    recipe, captures = load_recipe(RECIPES / "swav.toml", settings), []
    capture = CudaGraphs.capture

    def counted_capture(self: CudaGraphs, function: Any) -> Any:
        captures.append(function)
        return capture(self, function)

    monkeypatch.setattr(CudaGraphs, "capture", counted_capture)
    run = train(recipe, tmp_path / "captured")
    assert len(captures) == 4  # prototypes are frozen, then trained; the queue is filled, then used
    monkeypatch.setattr(captured_step, "EAGER_STEPS", 10**9)
    assert_equal_runs(run, train(recipe, tmp_path / "eager"))


def test_a_captured_step_is_one_copy_and_one_launch(tiny: Path, tmp_path: Path) -> None:
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])

    def profile_steps(event: StepEnded) -> None:
        if event.progress.step == 8:
            profiler.start()
        elif event.progress.step == 12:
            profiler.stop()

    settings = [*SMALL, "train.device=cuda", "monitor.log_every_steps=1000", "train.epochs=1"]
    train(load_recipe(tiny, settings), tmp_path, RecordingReporter(StepEnded, profile_steps))
    calls = {event.key: event.count for event in profiler.key_averages() if event.key.startswith("cuda")}
    launches = {name: count for name, count in calls.items() if "Launch" in name or "Memcpy" in name}
    assert launches == {"cudaGraphLaunch": 4, "cudaMemcpyAsync": 4}, calls


@pytest.mark.usefixtures("diverge_in_step_8")
def test_the_guard_undoes_a_captured_step(tiny: Path, tmp_path: Path) -> None:
    settings = [*SMALL, "train.device=cuda", "train.checkpoint_every=7 steps"]
    with pytest.raises(TrainingError, match=r"diverged in step 8 .*loss is nan.* checkpoint, of step 7"):
        train(load_recipe(tiny, settings), tmp_path)


def test_alexnet_learns_in_captured_steps(tmp_path: Path) -> None:
    settings = ["train.device=cuda", "train.epochs=1", "train.batch_size=64", "monitor.every_epochs=0"]
    recipe = load_recipe(RECIPES / "cpu" / "selfcls-alexnet.toml", [*on_digits("cpu/selfcls-alexnet"), *settings])
    reporter = RecordingReporter()
    run = train(recipe, tmp_path, reporter)
    assert run.status.state == "finished"
    assert any(note.startswith(CAPTURED) for note in reporter.notes)


@pytest.mark.parametrize("capture", ["auto", "off"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_interrupted_on_the_gpu_ends_in_the_same_bits(
    precision: str, capture: str, tiny: Path, tmp_path: Path, stop_at
) -> None:
    on_gpu = ["train.device=cuda", f"train.precision={precision}", "run.deterministic=true", f"train.capture={capture}"]
    recipe = load_recipe(tiny, ["backbone.width=4", "train.batch_size=128", "monitor.every_epochs=0", *on_gpu])
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    run = train(recipe, tmp_path / "runs", stop_at([7]))
    assert (run.status.state, run.status.step) == ("interrupted", 7)
    torch.cuda.manual_seed(0)
    assert_equal_runs(resume(run), uninterrupted)


def test_metrics_do_not_depend_on_the_device(tiny: Path, tmp_path: Path) -> None:
    run = Run(train(load_recipe(tiny, ["train.device=cuda", "train.epochs=10"]), tmp_path).path)
    asked = ["sslkit:cluster", "sslkit:knn", "sslkit:linear"]
    there, here = (run.evaluate(asked, device=device) for device in ("cuda", "cpu"))
    for evaluator, metric in (("cluster", "acc"), ("cluster", "nmi"), ("knn", "top1"), ("linear", "top1")):
        on_gpu, on_cpu = (result.evaluators[evaluator].metrics[metric] for result in (there, here))
        assert on_gpu == pytest.approx(on_cpu, abs=0.01), (evaluator, metric)
