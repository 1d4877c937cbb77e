"""A run whose head was trained with corrections, and its folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sslkit.contracts.head import Head
from sslkit.files import to_json, write_atomic
from sslkit.recipe.recipe import Recipe
from sslkit.runs.class_names import write_class_names
from sslkit.runs.corrections import CorrectionsLog, Row
from sslkit.runs.metrics_file import HEADER
from sslkit.runs.run import Run
from sslkit.runs.weights import copy_weights, save_weights
from sslkit.runs.weights_header import read_metadata


@dataclass(frozen=True)
class CorrectedRun:
    """Result of training the head of a run again with corrections.

    Attributes:
        run: the new run.
        moved: number of training images whose corrected class was used as a label.
        left_out: number of training images that were left out as outliers or ignored.
        unused: number of corrected images of other splits, which were not used.
        classes: number of classes of the new head.
        followed: share of the moved images that the new head assigns to their corrected class.
        changed: sorted int64 indices of images of all splits for which the new head's class differs from that of the
            old head. Moved images are not included.
        before: one-to-one accuracy of the old head on the labelled test images, or None if there are none.
        after: the same accuracy for the new head.
        logits: class logits of the new head, float32 ``[N, classes]``, for the N images of all splits.
    """

    run: Run
    moved: int
    left_out: int
    unused: int
    classes: int
    followed: float
    changed: Tensor
    before: float | None
    after: float | None
    logits: Tensor

    def summary(self) -> dict[str, Any]:
        """Return the numeric attributes as JSON values; ``changed`` becomes the number of changed images."""
        names = ("moved", "left_out", "unused", "classes", "followed", "before", "after")
        return {name: getattr(self, name) for name in names} | {"changed": len(self.changed)}


def write_corrected_run(
    run: Run,
    runs: Path,
    recipe: Recipe,
    head: Head,
    names: Sequence[str],
    added: Mapping[int, str],
    corrections: Sequence[Row],
    corrected: int,
) -> Run:
    """Write a new run: the backbone of ``run``, and a head that was trained with corrections.

    Args:
        run: the old run, which the user corrected.
        runs: folder of all runs.
        recipe: recipe of the new run.
        head: the new head.
        names: name of each class of the head, ``""`` for a class without a name.
        added: names of classes that have corrected images but no output of the new head, keyed by class number.
        corrections: corrections in effect, with the class numbers of the new run; see ``translate_corrections``.
        corrected: number of images that the user corrected.

    Raises:
        RunError: the run folder cannot be created, or the files of ``run`` are damaged.
    """
    backbone, heads = read_metadata(run.backbone), read_metadata(run.heads)
    record = json.loads(run.provenance.read_text()) | {
        "command": sys.argv,
        "corrected_from": {"run": run.name, "images": corrected},
    }
    new, old = Run.create(runs, run.path.parent.name), run.status
    write_atomic(new.recipe, recipe.to_toml())
    write_atomic(new.provenance, to_json(record))
    write_atomic(new.metrics, HEADER)
    write_class_names(new, names, added)
    _write_corrections(new, corrections)
    if run.typical_images.exists():
        write_atomic(new.typical_images, run.typical_images.read_bytes())
    copy_weights(run.backbone, new.backbone, backbone | {"run": new.name})
    metadata = heads | {"run": new.name, "classifier": 0, "classifiers": [len(names)]}
    save_weights(nn.ModuleList([head]), new.heads, metadata)
    new.write_status("finished", old.steps, old.steps, old.epochs, old.epochs)
    return new


def translate_corrections(
    rows: Iterable[Row], leaders: Mapping[int, int], kept: Sequence[int]
) -> tuple[list[Row], dict[int, int]]:
    """Return a run's corrections with the class numbers of the new run, and the classes that the new head lacks.

    Args:
        rows: the correction in effect of each corrected image.
        leaders: number of the class that each merged class belongs to, keyed by class number.
        kept: numbers of the classes of the new head, in its order.

    Returns:
        The corrections; and the new number of each class that is not in ``kept`` but has moved images, keyed by its
        old number (after merging). The new numbers start at ``len(kept)``.
    """
    position = {number: index for index, number in enumerate(kept)}
    added: dict[int, int] = {}
    translated = []
    for row in rows:
        if row.action == "move":
            number = leaders.get(row.number, row.number)
            if number not in position:
                added[number] = position[number] = len(position)
            row = replace(row, number=position[number])
        translated.append(row)
    return translated, added


def _write_corrections(run: Run, rows: Sequence[Row]) -> None:
    if rows:
        log = CorrectionsLog(run.path)
        try:
            log.append(tuple(rows))
        finally:
            log.close()
