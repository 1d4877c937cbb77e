"""Option fields that the view policies share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    low, high = span
    if low > high:
        raise ValueError(f"the smaller value must come first: [{high:g}, {low:g}]")
    return span


Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=256)]
Fraction = Annotated[float, Field(gt=0, le=1)]

Span = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
"""Smallest and largest value, both above 0."""

AreaSpan = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]
"""Smallest and largest part of an image's area, above 0 and at most 1."""

Side = Annotated[int, Field(ge=4, le=4096)]
"""Side of a square view in pixels."""

PerView = Probability | tuple[Probability, ...]
"""One probability for every view, or one for each."""


def resolve(size: int | Literal["auto"], auto: int) -> int:
    """The side in pixels: ``size``, or ``auto`` where it says so."""
    return auto if size == "auto" else size
