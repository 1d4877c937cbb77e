"""Report section "nearest neighbours": each query image next to the images with the most similar features."""

from __future__ import annotations

from typing import Any

from sslkit.reporting.encoded_split import EncodedSplit


def neighbours(encoded: EncodedSplit) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return the template variables of query images and neighbours; neighbours with a different label are marked."""
    labels = encoded.split.labels
    rows = []
    for query, nearest in encoded.neighbours():
        differs = None if labels is None else [bool(labels[index] != labels[query]) for index in nearest]
        rows.append((encoded.tiles([query])[0], encoded.tiles(nearest, differs)))
    return rows


def neighbours_note(encoded: EncodedSplit) -> str:
    """Return the explanation that the page shows above the nearest neighbours."""
    marked = "; ≠ marks images with a different label" if encoded.split.labels is not None else ""
    return (
        f"Each row shows one {encoded.name} image in a frame, then the {encoded.name} images with the most similar "
        f"features (cosine), nearest first{marked}."
    )
