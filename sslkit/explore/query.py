"""Query that selects the images that the page lists, and their order."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Query(BaseModel):
    """Query string of ``api/images``: filters that select the images to list, and their order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int | None = None
    """Class, -1 for outliers, -2 for ignored images, or None for all images."""
    sort: Literal["confidence", "similarity", "outlier", "file", "date"] = "confidence"
    """Value that determines the order. ``similarity`` is the similarity to the mean feature of the listed images."""
    descending: bool = True
    """Whether the largest value is first."""
    split: str = ""
    """Name of the split, or ``""`` for all."""
    label: int | None = None
    """Index of the label, or None for all."""
    corrected: bool | None = None
    """Whether the image has a correction, or None for all."""
    text: Annotated[str, Field(max_length=500)] = ""
    """Text that the file name contains, ignoring case."""
    low: float = 0.0
    """Smallest confidence, in [0, 1]."""
    high: float = 1.0
    """Largest confidence, in [0, 1]."""
    like: int | None = None
    """Index of an image: sort by the similarity to it instead of ``sort``. None sorts by ``sort``."""
