"""Tests on a real GPU: steps never sync, resumed runs are bit-identical, and metrics equal those on the CPU.

Without a GPU, these tests are skipped; ``test_device_sync`` uses fake tensors instead.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from equal_runs import assert_equal_runs
from recording_reporter import RecordingReporter
from shipped_recipes import FROZEN, GREY, RECIPES, SHIPPED, SMALL_LOSS, in_one_epoch

from sslkit.api import Run
from sslkit.recipe.load import load_recipe
from sslkit.training.events import StepEnded
from sslkit.training.train import resume, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SMALL = ["backbone={use='convnet', width=4}", "train.batch_size=64", "monitor.every_epochs=0"]
"""About twenty steps on digits."""


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in FROZEN | {"mmcr"}])  # MMCR declares a sync
def test_steps_never_sync_with_the_gpu(name: str, tmp_path: Path) -> None:
    settings = [*SMALL, "train.device=cuda", "monitor.log_every_steps=1000"]
    steps: list[int] = []

    def forbid_syncs(event: StepEnded) -> None:
        """Make torch raise an error for every device sync from step 3 to step 9."""
        steps.append(event.progress.step)
        torch.cuda.set_sync_debug_mode("error" if 3 <= event.progress.step < 9 else "default")

    recipe = load_recipe(RECIPES / f"{name}.toml", [*settings, *in_one_epoch(name), *SMALL_LOSS.get(name, [])])
    try:
        train(recipe, tmp_path, RecordingReporter(StepEnded, forbid_syncs))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert steps[-1] > 9


def test_views_of_two_sizes_can_be_compiled(tiny: Path, tmp_path: Path) -> None:
    # Small views end in feature maps of 1 x 1 pixel, where two memory formats have the same strides.
    views = ", ".join(f"{option}={value}" for option, value in (GREY | {"local_crops": 2, "local_size": 18}).items())
    settings = ["train.device=cuda", "train.compile=true", "train.epochs=1", "monitor.every_epochs=0"]
    settings += ["backbone={use='resnet18', stem='imagenet'}", f"views={{use='crops', size=32, {views}}}"]
    run = train(load_recipe(tiny, settings), tmp_path)
    assert run.status.state == "finished"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_interrupted_on_the_gpu_ends_in_the_same_bits(
    precision: str, tiny: Path, tmp_path: Path, stop_at
) -> None:
    on_gpu = ["train.device=cuda", f"train.precision={precision}", "run.deterministic=true"]
    recipe = load_recipe(tiny, ["backbone.width=4", "train.batch_size=350", "monitor.every_epochs=0", *on_gpu])
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    run = train(recipe, tmp_path / "runs", stop_at([5]))
    assert (run.status.state, run.status.step) == ("interrupted", 5)
    torch.cuda.manual_seed(0)
    assert_equal_runs(resume(run), uninterrupted)


def test_metrics_do_not_depend_on_the_device(tiny: Path, tmp_path: Path) -> None:
    run = Run(train(load_recipe(tiny, ["train.device=cuda", "train.epochs=10"]), tmp_path).path)
    asked = ["sslkit:cluster", "sslkit:knn", "sslkit:linear"]
    there, here = (run.evaluate(asked, device=device) for device in ("cuda", "cpu"))
    for evaluator, metric in (("cluster", "acc"), ("cluster", "nmi"), ("knn", "top1"), ("linear", "top1")):
        on_gpu, on_cpu = (result.evaluators[evaluator].metrics[metric] for result in (there, here))
        assert on_gpu == pytest.approx(on_cpu, abs=0.01), (evaluator, metric)
