"""Durations in recipes: a number of epochs or steps, or a percentage of the training run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

if TYPE_CHECKING:
    from sslkit.contracts.context import Context

MAX_EPOCHS = 10_000_000
"""Largest number of epochs that a recipe may set."""

_PERCENTAGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) ?%")
_EPOCHS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) epochs?")
_STEPS = re.compile(r"([0-9]{1,9}) steps?")
_INTERVAL = re.compile(r"[1-9][0-9]{0,8} (?:step|epoch|minute)s?")


@dataclass(frozen=True)
class PartOfTraining:
    """Marker in the type of an option: the option is a duration that must not exceed the length of the training run.

    Attributes:
        must_end: whether the duration must end before training ends, so that an equal length is an error.
    """

    must_end: bool = False


def percentage(value: object) -> Fraction | None:
    """Return a percentage such as ``"40%"`` as a fraction in [0, 1], or None for other values."""
    match = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    fraction = Fraction(match[1]) / 100 if match else None
    return fraction if fraction is not None and fraction <= 1 else None


def _check_whole_epochs(value: Any) -> Any:
    if percentage(value) is None and not (type(value) is int and 0 <= value <= MAX_EPOCHS):
        raise ValueError('must be a whole number of epochs, such as 10, or a percentage of the training, such as "40%"')
    return value


def _check_epochs(value: Any) -> Any:
    if percentage(value) is None and not (type(value) in (int, float) and 0 <= value <= MAX_EPOCHS):
        raise ValueError('must be a number of epochs, such as 0.5, or a percentage of the training, such as "10%"')
    return value


def _check_interval(value: Any) -> Any:
    if not percentage(value) and not (isinstance(value, str) and _INTERVAL.fullmatch(value)):
        raise ValueError('must be an interval, such as "500 steps", "2 epochs", "10 minutes" or "10%"')
    return value


def _check_duration(value: Any) -> Any:
    text = value if isinstance(value, str) else ""
    if percentage(text) is None and not (_EPOCHS.fullmatch(text) or _STEPS.fullmatch(text)):
        raise ValueError('must be a duration, such as "2 epochs", "300 steps" or "10%"')
    return value


WholeEpochs = Annotated[int | str, BeforeValidator(_check_whole_epochs)]
"""Type of an interval option: a whole number of epochs, or a percentage of the training run."""

Interval = Annotated[str, BeforeValidator(_check_interval)]
"""Type of an interval option: a whole number of steps, epochs or minutes, or a percentage of the training run."""

StartEpoch = Annotated[int | str, BeforeValidator(_check_whole_epochs), PartOfTraining(must_end=True)]
"""Type of a start option: a number of completed epochs, or a percentage of the training run."""

Epochs = Annotated[float | str, BeforeValidator(_check_epochs), PartOfTraining()]
"""Type of an option: a number of epochs, or a percentage of the training run."""

Duration = Annotated[str, BeforeValidator(_check_duration), PartOfTraining()]
"""Type of an option: a duration from the start of training, such as "2 epochs", "300 steps" or "10%"."""


def count_whole_epochs(value: int | str, epochs: int) -> int:
    """Return the value of a ``WholeEpochs`` or ``StartEpoch`` option as a number of epochs, rounded down.

    ``epochs`` is the length of the training run.
    """
    share = percentage(value)
    return int(value) if share is None else floor(share * epochs)


def count_epochs(value: float | str, epochs: int) -> float | Fraction:
    """Return the value of an ``Epochs`` option as a number of epochs; ``epochs`` is the length of the training run."""
    share = percentage(value)
    return float(value) if share is None else share * epochs


def parse_duration(value: str) -> tuple[Fraction, str]:
    """Return number and unit (``epochs``, ``steps``, ``minutes`` or ``%``) of a duration: 0.1 and ``%`` for 10 %."""
    share = percentage(value)
    if share is not None:
        return share, "%"
    number, _, unit = value.partition(" ")
    return Fraction(number), f"{unit.removesuffix('s')}s"


def duration_steps(duration: str, context: Context) -> int:
    """Return an ``sslkit.Duration`` as a number of optimizer steps, rounded to the nearest integer.

    Args:
        duration: the duration, such as "2 epochs", "300 steps" or "10%".
        context: the ``Context`` of the training run.
    """
    number, unit = parse_duration(duration)
    if unit == "epochs":
        return round(float(number) * context.steps_per_epoch)
    return round(number * context.total_steps) if unit == "%" else int(number)
