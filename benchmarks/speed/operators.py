"""Count the operators that PyTorch dispatches in a training step, for each stage of `sslkit bench`.

    python benchmarks/speed/operators.py [RECIPE ...] [--backbone resnet18] [--batch 16] [--size 32] [--no-record]

The number of operators limits the speed of small networks on a GPU, because the host launches about one kernel per
operator. This benchmark counts operators on the CPU. It excludes operators that only return a view of their input, and
sslkit's gradients for small feature maps, which only the CPU uses.

Each stage adds one part to the previous stage: backbone alone, heads and losses, views, data, Lightning's training
loop. The default recipes are ``selfcls`` and ``swav``. Writes ``benchmarks/records/operators.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.common import ROOT, option_parser, print_table, write_record
from benchmarks.noise import noise_recipe, train_steps
from sslkit.bench.stages import STAGES, StageRunner
from sslkit.device import small_feature_maps
from sslkit.recipe.recipe import Recipe
from sslkit.training.events import Reporter
from sslkit.training.preparation import prepare

WARM_UP_STEPS = 2
"""Number of steps before counting starts, because the first steps also create the optimizer state."""

COUNTED_STEPS = 3
"""Number of steps in which operators are counted; the result is the median."""


class OperatorCounter(TorchDispatchMode):
    """Context manager that counts dispatched operators, except operators that only return a view."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += not operator.is_view
        return operator(*args, **(kwargs or {}))


def count_stage(runner: StageRunner, stage: str) -> float:
    """Return the number of operators in a step of one stage."""

    def run_steps(after_step: Callable[[], None]) -> None:
        runner.start(stage)
        for _ in range(WARM_UP_STEPS + COUNTED_STEPS):
            runner.step()
            after_step()

    return count_steps(run_steps)


def count_training(recipe: Recipe) -> float:
    """Return the number of operators between the ends of two consecutive training steps."""
    return count_steps(lambda after_step: train_steps(recipe, WARM_UP_STEPS + COUNTED_STEPS, after_step))


def count_steps(run_steps: Callable[[Callable[[], None]], None]) -> float:
    """Return the median number of operators between two consecutive calls of ``after_step``."""
    counts: list[int] = []
    with OperatorCounter() as counter:
        run_steps(lambda: counts.append(counter.count))
    pairs = zip(counts[WARM_UP_STEPS - 1 :], counts[WARM_UP_STEPS:], strict=False)
    return median(after - before for before, after in pairs)


def main() -> None:
    """Count the operators of all recipes, print a table and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument(
        "recipes", nargs="*", default=["selfcls", "swav"], help="names of recipes in recipes/, or paths of TOML files"
    )
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the count does not depend on the number of threads
    results: dict[str, dict[str, float]] = {}
    for name in options.recipes:
        recipe = noise_recipe(
            f"backbone={{use='{options.backbone}'}}",
            "train.device=cpu",
            "train.precision=float32",
            recipe=Path(name) if name.endswith(".toml") else ROOT / "recipes" / f"{name}.toml",
            optimizer=None,
            images=16 * options.batch,
            size=options.size,
            batch=options.batch,
        )
        hardware, assembly, _ = prepare(recipe, Reporter())
        runner = StageRunner(assembly, hardware)
        with mock.patch.object(small_feature_maps, "max_output_pixels", return_value=0):
            counts = {stage: count_stage(runner, stage) for stage in STAGES}
            results[Path(name).stem] = counts | {"end_to_end": count_training(recipe)}
    print_table(
        f"operators per step: {options.backbone}, {options.batch} images of {options.size} px",
        ("recipe", "backbone", "+ heads and losses", "+ views", "+ data", "+ training loop"),
        [(name, *(f"{count:.0f}" for count in counts.values())) for name, counts in results.items()],
    )
    if not options.no_record:
        record = {"n": COUNTED_STEPS, "settings": vars(options), "operators_per_step": results}
        write_record("operators", record, ("torchvision",))


if __name__ == "__main__":
    main()
