"""Estimate the training time of a recipe on this machine from a few steps on real images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch

from sslkit.assembly.assemble import Assembly
from sslkit.bench.bench import MANY_EPOCHS, WARM_UP_STEPS, MeasurementComplete, train_until_complete, without_end
from sslkit.bench.stages import synchronize
from sslkit.contracts.duration import count_whole_epochs
from sslkit.device.hardware import Hardware
from sslkit.recipe.recipe import Recipe
from sslkit.training.events import Event, Reporter, StepEnded
from sslkit.training.learner import Learner
from sslkit.training.monitor.classifier_selection import ClassifierSelection
from sslkit.training.monitor.epoch_metrics import EpochMetrics
from sslkit.training.monitor.validation import ValidationMonitor
from sslkit.training.preparation import prepare

WINDOWS = 7
"""Number of measurement windows; the time of a step is the median over windows."""

WINDOW_SECONDS = 0.3
"""Shortest length of a window in seconds; a window has at least one step."""


@dataclass(frozen=True)
class TrainingTime:
    """Measured times of the parts of a recipe's training, from which the total training time is estimated.

    Attributes:
        recipe: the recipe.
        steps_per_epoch: number of optimizer steps in an epoch.
        step_seconds: mapping from each ``start_epoch`` of a loss (an epoch, or a percentage of the training length) to
            the seconds per step from then until the next loss starts.
        epoch_seconds: seconds that it takes to measure the collapse metrics after an epoch; 0 if they are off.
        validation_seconds: seconds that it takes to measure the validation metrics; 0 if they are off.
        start_seconds: seconds until the first step, if images are cached.
    """

    recipe: Recipe
    steps_per_epoch: int
    step_seconds: dict[int | str, float]
    epoch_seconds: float
    validation_seconds: float
    start_seconds: float

    def seconds(self, epochs: int) -> float:
        """Return the estimated duration, in seconds, of a training run of ``epochs`` epochs."""
        starts = sorted((count_whole_epochs(start, epochs), step) for start, step in self.step_seconds.items())
        ends = [start for start, _ in starts[1:]] + [epochs]
        steps = sum((end - start) * step for (start, step), end in zip(starts, ends, strict=True))
        every = self.recipe.monitor.every_epochs
        validations = 1 + -(-epochs // max(1, count_whole_epochs(every, epochs))) if every else 0
        return (
            self.start_seconds
            + self.steps_per_epoch * steps
            + epochs * self.epoch_seconds
            + validations * self.validation_seconds
        )

    def most_epochs(self, seconds: float, limit: int) -> int:
        """Return the largest number of epochs up to ``limit`` that takes at most ``seconds``, but at least 1."""
        return next((epochs for epochs in range(limit, 1, -1) if self.seconds(epochs) <= seconds), 1)


def measure_training_time(recipe: Recipe, reporter: Reporter | None = None) -> TrainingTime:
    """Measure how long training steps and metrics take.

    The duration of a step changes when a loss starts. Steps are therefore timed separately for each ``start_epoch`` in
    the recipe, with the losses that have started by then.

    Args:
        recipe: a checked recipe, trained in one process.
        reporter: receives messages about the chosen hardware and warnings.
    """
    steps = measure_steps(recipe, reporter)
    epoch_seconds, validation_seconds = _measure_metrics(replace(steps.assembly, recipe=recipe), steps.hardware)
    steps_per_epoch = steps.assembly.context.steps_per_epoch
    return TrainingTime(
        recipe, steps_per_epoch, steps.step_seconds, epoch_seconds, validation_seconds, steps.start_seconds
    )


@dataclass(frozen=True)
class MeasuredSteps:
    """Measured times of the training steps of a recipe.

    Attributes:
        step_seconds: as for ``TrainingTime``.
        start_seconds: as for ``TrainingTime``.
        assembly: the assembled recipe, which was trained for the measurement.
        hardware: device and precision of the measurement.
    """

    step_seconds: dict[int | str, float]
    start_seconds: float
    assembly: Assembly
    hardware: Hardware


def measure_steps(recipe: Recipe, reporter: Reporter | None = None) -> MeasuredSteps:
    """Measure how long training steps take, separately for each ``start_epoch`` of a loss.

    Args:
        recipe: a checked recipe, trained in one process.
        reporter: receives messages about the chosen hardware and warnings.
    """
    starts = sorted({loss.wiring.start_epoch for loss in recipe.losses}, key=_position) or [0]
    prepare(recipe, reporter or Reporter())  # fills the image cache
    step_seconds: dict[int | str, float] = {}
    for start in starts:
        started = time.perf_counter()
        hardware, assembly, processes = prepare(without_end(_with_losses_until(recipe, start)), Reporter())
        start_seconds = time.perf_counter() - started
        steps = _StepTimes(hardware)
        train_until_complete(assembly, hardware, processes, steps)
        step_seconds[start] = median(steps.windows)
    return MeasuredSteps(step_seconds, start_seconds, assembly, hardware)


def _position(start: int | str) -> int:
    return count_whole_epochs(start, MANY_EPOCHS)


def _with_losses_until(recipe: Recipe, start: int | str) -> Recipe:
    """Return a copy of the recipe in which losses with a ``start_epoch`` up to ``start`` are used from the first step.

    Other losses are never used. Steps after epoch ``start`` can thus be timed without training until then.
    """

    def begin(own: int | str) -> int:
        return 0 if _position(own) <= _position(start) else MANY_EPOCHS - 1

    losses = tuple(
        replace(loss, wiring=loss.wiring.model_copy(update={"start_epoch": begin(loss.wiring.start_epoch)}))
        for loss in recipe.losses
    )
    return replace(recipe, losses=losses)


class _StepTimes(Reporter):
    """Reporter that measures seconds per step in ``WINDOWS`` intervals of training, and stops training afterwards."""

    def __init__(self, hardware: Hardware) -> None:
        self.device = torch.device(hardware.device)
        self.windows: list[float] = []
        self.steps = -WARM_UP_STEPS
        self.started = 0.0

    def on_event(self, event: Event) -> None:
        if not isinstance(event, StepEnded):
            return
        self.steps += 1
        if self.steps < 0:
            return
        synchronize(self.device)
        now = time.perf_counter()
        if self.steps and now - self.started >= WINDOW_SECONDS:
            self.windows.append((now - self.started) / self.steps)
        elif self.steps:
            return
        if len(self.windows) == WINDOWS:
            raise MeasurementComplete
        self.started, self.steps = now, 0


def _measure_metrics(assembly: Assembly, hardware: Hardware) -> tuple[float, float]:
    """Return how many seconds it takes to measure the collapse metrics and, separately, the validation metrics."""
    learner = Learner(assembly, hardware).to(hardware.device)
    metrics = EpochMetrics(learner, ValidationMonitor(assembly), ClassifierSelection(learner))
    classifier = metrics.selection.index if metrics.selection.head else None

    def seconds(measure: Callable[[int | None], object]) -> float:
        started = time.perf_counter()
        measure(classifier)
        synchronize(torch.device(hardware.device))
        return time.perf_counter() - started

    after_epoch = seconds(metrics.collapse_metrics.measure) if metrics.detects_collapse else 0.0
    return after_epoch, seconds(metrics.monitor.measure) if metrics.monitor.every else 0.0
