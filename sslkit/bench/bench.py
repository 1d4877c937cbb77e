"""Compare the training speed of a recipe with that of its backbone alone, and measure what each part of a step costs.

The ceiling is the speed of the backbone's forward pass, backward pass and optimizer step on precomputed views, in the
precision and memory format of training. ``bench`` compares the ceiling with complete training steps, which include
Lightning, logging, views and data. Each stage of ``STAGES`` adds one part to the previous stage, so the difference
between their times is the cost of the added part. One process cycles through all stages, so a slowdown of the machine
affects all stages.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from sslkit.assembly.assemble import Assembly
from sslkit.bench.costs import ADVICE, END_TO_END, costs, find_bottleneck, shares
from sslkit.bench.stages import STAGES, StageRunner
from sslkit.device.hardware import Hardware
from sslkit.recipe.recipe import Recipe
from sslkit.runs.run import Run
from sslkit.training.distributed.processes import Processes
from sslkit.training.events import Event, Reporter, StepEnded
from sslkit.training.fit import fit
from sslkit.training.preparation import prepare
from sslkit.training.step.captured_step import EAGER_STEPS

MANY_EPOCHS = 1_000_000
"""Number of epochs, so large that training neither ends nor saves a checkpoint during the measurement."""

WARM_UP_STEPS = EAGER_STEPS + 1
"""Number of steps of training before the measurement; on a GPU, the last of them is captured."""


class MeasurementComplete(BaseException):
    """Exception that stops training when the measurement is complete."""


def bench(recipe: Recipe, rounds: int, seconds: float, reporter: Reporter | None = None) -> dict[str, Any]:
    """Measure the speed of training and of each stage, and compare the speeds.

    A stage is a training step with some of its parts. The stages in ``STAGES`` start with the backbone alone, then add
    heads and losses, then views, then data. Complete training adds logging. The backbone and each addition are the
    parts of a step.

    Args:
        recipe: a checked recipe, trained in one process, without validation metrics or checkpoints.
        rounds: number of measurements of training and of each stage; results are medians.
        seconds: approximate duration of each stage in a round, in seconds; a stage runs at least one step.
        reporter: receives messages about the chosen hardware and warnings.

    Returns:
        Mapping with these keys:

        - ``images_per_second``: speeds of the backbone alone (the ceiling) and of training, as medians over rounds
        - ``ratio``: training speed divided by the ceiling, median over rounds, at most 1
        - ``ratios``: the ratio in each round, which noise can raise above 1
        - ``seconds_per_step``: time of each stage and of training
        - ``cost`` and ``share``: seconds that each part adds to a step, and the part's fraction of the step
        - ``bottleneck`` and ``advice``: the part that limits training, and how to make it faster
        - ``protocol``: settings of the measurement
    """
    hardware, assembly, processes = prepare(without_end(recipe), reporter or Reporter())
    measurement = _Measurement(StageRunner(assembly, hardware), rounds, seconds)
    train_until_complete(assembly, hardware, processes, measurement)
    return _summary(measurement, assembly, hardware)


def train_until_complete(assembly: Assembly, hardware: Hardware, processes: Processes, reporter: Reporter) -> None:
    """Train the assembled recipe in a temporary run folder until ``reporter`` raises ``MeasurementComplete``.

    Raises:
        KeyboardInterrupt: a signal stopped training before the measurement was complete.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), "bench")
        run.provenance.write_text("{}")
        run.write_status("running", 0, assembly.context.total_steps, 0, assembly.context.epochs)
        try:
            fit(run, assembly, hardware, processes, reporter, checkpoint=None)
        except MeasurementComplete:
            return
        raise KeyboardInterrupt  # after a first signal, training ends without an error


def without_end(recipe: Recipe) -> Recipe:
    """Return a copy of the recipe for measurements: one process, no checkpoints or monitors, and very many epochs."""
    changes = {"epochs": MANY_EPOCHS, "checkpoint_every": f"{MANY_EPOCHS} epochs", "devices": 1, "nodes": 1}
    return replace(
        recipe,
        train=recipe.train.model_copy(update=changes),
        monitor=recipe.monitor.model_copy(update={"every_epochs": 0, "collapse": "off"}),
    )


class _Measurement(Reporter):
    """Reporter that times complete training steps and each stage in rounds, and stops training after the final round.

    In a round, the reporter first times some steps of normal training. It then pauses training, and times the same
    number of steps of each stage in ``STAGES``.
    """

    def __init__(self, stages: StageRunner, rounds: int, seconds: float) -> None:
        self.stages, self.rounds, self.seconds = stages, rounds, seconds
        self.steps_per_round = 1
        self.steps = 0
        self.started = 0.0
        self.times: dict[str, list[float]] = {stage: [] for stage in (*STAGES, END_TO_END)}

    def on_event(self, event: Event) -> None:
        if isinstance(event, StepEnded):
            self._step()

    def _step(self) -> None:
        self.steps += 1
        if self.steps < WARM_UP_STEPS:
            return
        if self.steps == WARM_UP_STEPS:
            slowest = max(self._time(stage, WARM_UP_STEPS) for stage in STAGES)
            self.steps_per_round = max(1, round(self.seconds / slowest))
        elif (self.steps - WARM_UP_STEPS) % self.steps_per_round:
            return
        else:
            self.stages.synchronize()
            self.times[END_TO_END].append((time.perf_counter() - self.started) / self.steps_per_round)
            for stage in STAGES:
                self.times[stage].append(self._time(stage, self.steps_per_round))
        if len(self.times[END_TO_END]) == self.rounds:
            raise MeasurementComplete
        self.stages.synchronize()
        self.started = time.perf_counter()

    def _time(self, stage: str, steps: int) -> float:
        """Run ``steps`` steps of a stage and return the seconds per step."""
        self.stages.start(stage)
        self.stages.synchronize()
        started = time.perf_counter()
        for _ in range(steps):
            self.stages.step()
        self.stages.synchronize()
        return (time.perf_counter() - started) / steps


def _summary(measurement: _Measurement, assembly: Assembly, hardware: Hardware) -> dict[str, Any]:
    rounds = measurement.times
    times = {name: median(seconds) for name, seconds in rounds.items()}
    ratios = [backbone / training for backbone, training in zip(rounds["backbone"], rounds[END_TO_END], strict=True)]
    cost, ratio, batch_size = costs(rounds), min(1.0, median(ratios)), assembly.context.batch_size
    bottleneck = find_bottleneck(ratio, cost)
    is_frozen = assembly.frozen is not None
    trained, inputs = ("heads and losses", "features") if is_frozen else ("the backbone", "views")
    return {
        "images_per_second": {"ceiling": batch_size / times["backbone"], END_TO_END: batch_size / times[END_TO_END]},
        "ratio": ratio,
        "ratios": ratios,
        "seconds_per_step": times,
        "cost": cost,
        "share": shares(cost, times[END_TO_END]),
        "bottleneck": bottleneck,
        "advice": ADVICE[bottleneck],
        "protocol": {
            "ceiling": f"forward and backward pass of {trained} and the optimizer step, on precomputed {inputs}",
            "rounds": measurement.rounds,
            "steps_per_round": measurement.steps_per_round,
            "batch_size": batch_size,
            "views": [[group.count, group.size] for group in assembly.views.groups],
            "device": hardware.device,
            "precision": hardware.precision,
            "precision_reason": hardware.reason,
            "channels_last": hardware.channels_last,
            "compiled": assembly.recipe.train.compile,
            "processes": 1,
            "threads": torch.get_num_threads(),
            "seed": assembly.recipe.run.seed,
        },
    }
