"""Report section on recurring classes: those that more than one classifier or run finds in the same images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sslkit.features.recurring_classes import recurring_classes
from sslkit.reporting.encoded_split import EncodedSplit

RECURS = 0.5
"""Minimum share of the other classifiers and runs that must find a class for it to count as recurring."""


def recurrence(encoded: EncodedSplit, other_runs: Sequence[Tensor]) -> tuple[list[str], str]:
    """Return a text for each class, about how many other classifiers and runs also find the class, and a summary text.

    Texts and summary are empty if there are no classes, or neither other classifiers nor other runs.

    Args:
        encoded: the images, with the classes that the run's classifiers assign to them.
        other_runs: an int64 tensor ``[N]`` for each other run: the class that this other run assigns to each image.
    """
    others = [*encoded.other_classifiers, *other_runs]
    if encoded.discovered is None or not others:
        return [], ""
    shares = recurring_classes(encoded.discovered.assigned, others, encoded.discovered.count).tolist()
    kinds = ["classifiers of the run"] * bool(encoded.other_classifiers) + ["runs"] * bool(other_runs)
    kinds = kinds if len(others) > 1 else [kinds[0].replace("classifiers", "classifier").replace("runs", "run")]
    where = f"{len(others)} other {' and '.join(kinds)}"
    texts = [
        f"{'' if share >= RECURS else 'does not recur reliably: '}comes back in {round(share * len(others))} of {where}"
        for share in shares
    ]
    count = sum(share >= RECURS for share in shares)
    return texts, (
        f"{count} of {len(shares)} classes come back in at least half of {where}: at least half of the images in "
        "either class are in both. Classes that do not come back depend on chance."
    )
