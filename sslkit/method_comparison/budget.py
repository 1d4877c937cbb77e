"""Length of each training run in a comparison: equal time, equally many views, or equally many epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from sslkit.contracts.duration import parse_duration, percentage
from sslkit.errors import InputError
from sslkit.recipe.document import dotted
from sslkit.recipe.duration_problems import durations
from sslkit.recipe.recipe import Recipe

MIN_EPOCHS = 20
"""Number of epochs at or above which durations are rounded to at most 5 % of the training run."""

Unit = Literal["minutes", "views", "epochs"]


@dataclass(frozen=True)
class Budget:
    """Amount of training that each method of a comparison gets, equal for all methods.

    Attributes:
        unit: ``minutes`` of training steps, ``views`` that the network was trained on, or ``epochs``.
        amount: number of units.
    """

    unit: Unit
    amount: float

    def __str__(self) -> str:
        text = f"{self.amount:,.0f}".replace(",", " ") if self.unit == "views" else f"{self.amount:g}"
        return f"{text} {self.unit if self.amount != 1 else self.unit.removesuffix('s')}"


@dataclass(frozen=True)
class Length:
    """Length of a training run.

    Attributes:
        epochs: number of epochs.
        steps_per_epoch: number of optimizer steps in an epoch.
    """

    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        return self.epochs * self.steps_per_epoch


def steps_in_budget(
    budget: Budget, steps_per_pass: int, batch_size: int, views_per_image: int, step_seconds: Mapping[int | str, float]
) -> int:
    """Return the largest number of optimizer steps that fits into a budget of minutes or views.

    Args:
        budget: the budget.
        steps_per_pass: number of steps in a pass over the training images.
        batch_size: number of images in a step.
        views_per_image: number of views of each image.
        step_seconds: see ``mean_step_seconds``; only used for a budget of minutes.

    Raises:
        InputError: the budget is smaller than a step.
    """
    if budget.unit == "epochs":
        return int(budget.amount) * steps_per_pass
    if budget.unit == "views":
        steps, cost = int(budget.amount) // (batch_size * views_per_image), f"{batch_size * views_per_image} views"
    else:
        seconds = mean_step_seconds(step_seconds)
        steps, cost = int(60 * budget.amount / seconds), f"{seconds:.3g} seconds"
    if not steps:
        raise InputError(f"{budget} are less than one step, which takes {cost}: use a larger budget or a smaller batch")
    return steps


def mean_step_seconds(step_seconds: Mapping[int | str, float]) -> float:
    """Return the mean seconds of a step over a training run, in which losses may start after the first step.

    Args:
        step_seconds: seconds of a step from each start of a loss to the next, keyed by the start: a percentage of the
            training run, or 0.
    """
    starts = sorted((float(percentage(start) or 0), seconds) for start, seconds in step_seconds.items())
    ends = [start for start, _ in starts[1:]] + [1.0]
    return sum((end - start) * seconds for (start, seconds), end in zip(starts, ends, strict=True))


def divide_into_epochs(steps: int, steps_per_pass: int) -> Length:
    """Divide a training run into epochs of equal length; the total may be slightly below ``steps``, but not above.

    There are at least ``MIN_EPOCHS`` epochs if there are enough steps. An epoch is at most one pass over the images.
    """
    fewest = min(max(MIN_EPOCHS, -(-steps // steps_per_pass)), steps)
    candidates = [Length(epochs, steps // epochs) for epochs in range(fewest, 2 * fewest) if epochs <= steps]
    return max(candidates, key=lambda length: (length.steps, -length.epochs))


def relative_durations(recipe: Recipe) -> list[str]:
    """Return ``--set`` options that write durations in epochs as percentages of the recipe's own number of epochs.

    A recipe for 100 epochs with 10 epochs of warm-up then has a warm-up of 10 % in a training run of any length.
    """
    settings = []
    for path, value, _ in durations(recipe):
        number, unit = parse_duration(value) if isinstance(value, str) else (Fraction(value), "epochs")
        if unit == "epochs" and number:
            share = f"{float(100 * number / recipe.train.epochs):.9f}".rstrip("0").rstrip(".")
            settings.append(f'{dotted(path)}="{share}%"')
    return settings
