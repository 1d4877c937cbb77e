"""Classes of images after a user's corrections and merges, which ``sslkit explore`` saves in the run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.evaluator import IGNORED, OUTLIER, CorrectedClasses
from sslkit.data.datasets.folder.content_hash import file_hash
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.data.threads import map_in_threads
from sslkit.evaluation.class_groups import group_by_name, predict_group
from sslkit.runs.class_names import read_added_names, read_class_names
from sslkit.runs.correction_history import read_image_corrections
from sslkit.runs.corrections import Action, Row
from sslkit.runs.run import Run

MARKS: dict[int, Action] = {OUTLIER: "outlier", IGNORED: "ignore"}
"""Action that ``corrections.csv`` records for each mark."""

BLOCK = 8192
"""Number of images whose pixels are hashed, or whose classes are computed, at a time."""


def find_leaders(names: Mapping[int, str]) -> dict[int, int]:
    """Map the number of each named class to the smallest number among the classes with the same name.

    This smallest number is the number of the merged class.

    Args:
        names: name of each named class, keyed by number.
    """
    first: dict[str, int] = {}
    for number, name in sorted(names.items()):
        first.setdefault(name, number)
    return {number: first[name] for number, name in names.items()}


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


def merge_classes(logits: Tensor, temperature: float, names: Mapping[int, str]) -> tuple[Tensor, Tensor]:
    """Return the class of each image after classes with the same name are merged, and its probability.

    A merged class gets the smallest of its classes' numbers, and the sum of their probabilities.

    Args:
        logits: class logits ``[N, K]``.
        temperature: temperature of the class probabilities softmax(logits / temperature).
        names: name of each named class, keyed by number.

    Returns:
        The classes, int64 ``[N]``, and their probabilities, float64 ``[N]``.
    """
    group, _ = group_by_name([names.get(number, "") for number in range(logits.shape[1])])
    parts = [predict_group(part, temperature, group) for part in logits.split(BLOCK)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[2] for part in parts])


def correct_classes(
    run: Run, dataset: Dataset, split: Split, logits: Tensor, temperature: float
) -> CorrectedClasses | None:
    """Return the classes of a split after a user's corrections, or None if there are no corrections and no merges.

    Args:
        run: the run, with its ``corrections.csv`` and ``classes.toml``.
        dataset: the data set of the split.
        split: the N images.
        logits: class logits ``[N, K]``.
        temperature: temperature of the class probabilities softmax(logits / temperature).

    Raises:
        RunError: ``corrections.csv`` or ``classes.toml`` is damaged.
    """
    classes = logits.shape[1]
    saved = dict(enumerate(read_class_names(run, classes) or ())) | read_added_names(run, classes)
    names = {number: name for number, name in saved.items() if name}
    leaders = find_leaders(names)
    rows = read_image_corrections(run)
    if not rows and all(number == leader for number, leader in leaders.items()):
        return None
    merged, confidence = merge_classes(logits.cpu(), temperature, names)
    found = _find(rows, split, dataset.options.root if isinstance(dataset, ImageFolder) else None)
    assigned, corrected = apply_corrections(merged, found, leaders)
    return CorrectedClasses(assigned, confidence, corrected, names, len(rows))


def _find(rows: Mapping[str, Row], split: Split, root: Path | None) -> list[tuple[Row, list[int]]]:
    """Return each correction and the indices of its images, which are found by the hash of their content.

    Corrections without an image in the split are left out. Only files with the size of a corrected file are hashed.
    """
    sizes = {row.bytes for row in rows.values()}
    if not sizes:
        return []
    if root is not None and split.files:
        paths = [root / file for file in split.files]
        candidates = [index for index, path in enumerate(paths) if _size(path) in sizes]
        digests = list(map_in_threads(lambda index: file_hash(paths[index]), candidates))
    else:
        candidates = list(range(len(split.images)))
        blocks = (split.images.gather(block) for block in torch.tensor(candidates).split(BLOCK))
        digests = [hashlib.sha256(pixels.numpy().tobytes()).hexdigest() for block in blocks for pixels in block.cpu()]
    indices: dict[str, list[int]] = {}
    for index, digest in zip(candidates, digests, strict=True):
        indices.setdefault(digest, []).append(index)
    return [(row, indices[content]) for content, row in rows.items() if content in indices]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
