"""On a real GPU: a step never waits for it, a resume ends in the same bits, and figures are those of the processor.

Where there is none these are skipped; ``test_no_waiting`` shows with made-up tensors what can be shown without.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bits import assert_same
from shipped_recipes import GREY, RECIPES, SHIPPED, in_one_epoch

from sslkit.api import Run
from sslkit.recipe.load import load_recipe
from sslkit.training.events import Progress, Reporter
from sslkit.training.train import resume, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

LEAN = ["backbone={use='convnet', width=4}", "train.batch_size=64", "monitor.every_epochs=0"]
"""Twenty-odd steps on digits."""


class Refuse(Reporter):
    """Between two steps torch refuses whatever waits for the GPU."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last, self.seen = first, last, 0

    def step(self, progress: Progress) -> None:
        self.seen = progress.step
        if progress.step == self.first:
            torch.cuda.set_sync_debug_mode("error")
        if progress.step == self.last:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", SHIPPED)
def test_steps_never_wait_for_the_gpu(name: str, tmp_path: Path) -> None:
    settings = [*LEAN, "train.device=cuda", "monitor.log_every_steps=1000"]
    refuse = Refuse(3, 9)
    try:
        train(load_recipe(RECIPES / f"{name}.toml", [*settings, *in_one_epoch(name)]), tmp_path, refuse)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert refuse.seen > 9


def test_views_of_two_sizes_compile(tiny: Path, tmp_path: Path) -> None:
    # Small views end in a single place, where two memory orders are one, which a compiler must not confuse.
    views = ", ".join(f"{option}={value}" for option, value in (GREY | {"local_crops": 2, "local_size": 18}).items())
    settings = ["train.device=cuda", "train.compile=true", "train.epochs=1", "monitor.every_epochs=0"]
    settings += ["backbone={use='resnet18', stem='imagenet'}", f"views={{use='crops', size=32, {views}}}"]
    run = train(load_recipe(tiny, settings), tmp_path)
    assert run.status.state == "finished"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_stopped_on_the_gpu_ends_in_the_same_bits(precision: str, tiny: Path, tmp_path: Path, stop_at) -> None:
    on_gpu = ["train.device=cuda", f"train.precision={precision}", "run.deterministic=true"]
    recipe = load_recipe(tiny, ["backbone.width=4", "train.batch_size=350", "monitor.every_epochs=0", *on_gpu])
    calm = train(recipe, tmp_path / "calm")
    run = train(recipe, tmp_path / "runs", stop_at([5]))
    assert (run.status.state, run.status.step) == ("interrupted", 5)
    torch.cuda.manual_seed(0)
    assert_same(resume(run), calm)


def test_figures_do_not_depend_on_where_they_are_computed(tiny: Path, tmp_path: Path) -> None:
    run = Run(train(load_recipe(tiny, ["train.device=cuda", "train.epochs=10"]), tmp_path).path)
    asked = ["sslkit:cluster", "sslkit:knn", "sslkit:linear"]
    there, here = (run.evaluate(asked, device=device) for device in ("cuda", "cpu"))
    for evaluator, metric in (("cluster", "acc"), ("cluster", "nmi"), ("knn", "top1"), ("linear", "top1")):
        on_gpu, on_cpu = (result.evaluators[evaluator].metrics[metric] for result in (there, here))
        assert on_gpu == pytest.approx(on_cpu, abs=0.01), (evaluator, metric)
