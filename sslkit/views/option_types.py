"""Types of options that view policies and evaluators share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field


def _check_order(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if low > high:
        raise ValueError(f"the smaller value must come first: [{high:g}, {low:g}]")
    return limits


Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=256)]
Fraction = Annotated[float, Field(gt=0, le=1)]

Range = Annotated[tuple[Positive, Positive], AfterValidator(_check_order)]
"""Type of an option: smallest and largest value, both above 0."""

AreaRange = Annotated[tuple[Fraction, Fraction], AfterValidator(_check_order)]
"""Type of an option: smallest and largest fraction of an image's area, in (0, 1]."""

Side = Annotated[int, Field(ge=4, le=4096)]
"""Type of an option: side of a square view in pixels."""

PerView = Probability | tuple[Probability, ...]
"""Type of an option: one probability for all views, or a list of probabilities."""


def resolve_size(size: int | Literal["auto"], auto: int) -> int:
    """Return ``size``, or ``auto`` if ``size`` is "auto"; both in pixels."""
    return auto if size == "auto" else size
