"""Assign a class to each image, from the network's output, the class names and a user's corrections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sslkit.evaluation.class_groups import group_by_name, predict_group
from sslkit.explore.run_images import BLOCK, RunImages
from sslkit.runs.corrections import Action, Row

OUTLIER, IGNORED = -1, -2
"""Class numbers of the images that a user marked as outliers or as ignored."""

MARKS: dict[int, Action] = {OUTLIER: "outlier", IGNORED: "ignore"}
"""Action that ``corrections.csv`` records for each mark."""


def find_leaders(names: Mapping[int, str]) -> dict[int, int]:
    """Return the smallest class number with the same name, keyed by the number of each named class."""
    first: dict[str, int] = {}
    for number, name in sorted(names.items()):
        first.setdefault(name, number)
    return {number: first[name] for number, name in names.items()}


def assign_discovered(images: RunImages, names: Mapping[int, str]) -> tuple[Tensor, Tensor]:
    """Return the class of each image as ``sslkit predict`` finds it, and its probability.

    Classes with the same name are one class, with the smallest of their numbers and the sum of their probabilities.

    Returns:
        The classes, int64 ``[N]``, and their probabilities, float64 ``[N]``.
    """
    group, _ = group_by_name([names.get(number, "") for number in range(images.classes)])
    leaders = find_leaders(names)
    numbers = torch.tensor([leaders.get(number, number) for number in range(images.classes)])
    parts = [predict_group(part, images.temperature, group) for part in images.logits.split(BLOCK)]
    return numbers[torch.cat([part[0] for part in parts])], torch.cat([part[2] for part in parts])


def apply_corrections(
    discovered: Tensor,
    corrections: Iterable[tuple[Row, list[int]]],
    leaders: Mapping[int, int],
) -> tuple[Tensor, Tensor]:
    """Return the corrected class of each image, int64 ``[N]``, and whether the image has a correction, bool ``[N]``.

    Args:
        discovered: int64 ``[N]``, class of each of the N images before corrections.
        corrections: each correction in effect, and the indices of its images.
        leaders: result of ``find_leaders``.
    """
    marks = {action: number for number, action in MARKS.items()}
    indices: list[int] = []
    numbers: list[int] = []
    for row, of_row in corrections:
        number = marks.get(row.action, leaders.get(row.number, row.number))
        indices += of_row
        numbers += [number] * len(of_row)
    rows = torch.tensor(indices, dtype=torch.int64)
    current, corrected = discovered.clone(), torch.zeros(len(discovered), dtype=torch.bool)
    current[rows] = torch.tensor(numbers, dtype=torch.int64)
    corrected[rows] = True
    return current, corrected
