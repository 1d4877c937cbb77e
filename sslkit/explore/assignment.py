"""Class of each image: from the network and the names of the classes, and from the corrections of a user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sslkit.evaluation.class_groups import group_by_name, predict_group
from sslkit.explore.run_images import BLOCK, RunImages
from sslkit.runs.corrections import Action, Row

OUTLIER, IGNORED = -1, -2
"""Class numbers of images that a user marked as outliers, or to be ignored."""

MARKS: dict[int, Action] = {OUTLIER: "outlier", IGNORED: "ignore"}
"""Action in ``corrections.csv`` of each mark."""


def find_leaders(names: Mapping[int, str]) -> dict[int, int]:
    """Return the smallest number with the same name, for the number of each named class."""
    first: dict[str, int] = {}
    for number, name in sorted(names.items()):
        first.setdefault(name, number)
    return {number: first[name] for number, name in names.items()}


def assign_discovered(images: RunImages, names: Mapping[int, str]) -> tuple[Tensor, Tensor]:
    """Return the class of each image as ``sslkit predict`` finds it, and its probability.

    Classes with the same name are one class, whose number is the smallest of theirs; their probabilities are added.

    Returns:
        int64 ``[N]`` and float64 ``[N]``.
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
    """Return the class of each image with corrections, int64 ``[N]``, and whether it has a correction, bool ``[N]``.

    Args:
        discovered: int64 ``[N]``, classes without corrections.
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
