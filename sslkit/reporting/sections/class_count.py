"""Scores of each number of classes that ``sslkit init --classes auto`` compared."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sslkit.features.class_count import ClassCountProposal
from sslkit.files import read_regular_file
from sslkit.reporting.page_elements import Table
from sslkit.runs.run import Run

SCORES = {
    "silhouette": "silhouette",
    "davies_bouldin": "Davies-Bouldin (lower is better)",
    "coding_length": "bits per image (lower is better)",
    "seed_stability": "agreement of seeds",
    "half_stability": "agreement of halves",
    "prediction_strength": "prediction strength",
    "smallest_share": "smallest class",
    "combined": "combined score",
}
"""Title of each score of ``CandidateScores``."""


def class_count(run: Run, notes: list[str]) -> dict[str, Any] | None:
    """Return the template variables of the scores that ``init --classes auto`` gave to each number of classes.

    Return None if the run has no such scores. If their file is damaged, return None and append the reason to ``notes``.
    """
    if not run.class_count.exists():
        return None
    try:
        proposal = TypeAdapter(ClassCountProposal).validate_python(json.loads(read_regular_file(run.class_count)))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        notes.append(f"{run.class_count} is left out: {reason}")
        return None
    rows = []
    for scores in proposal.candidates:
        mark = "plausible" if proposal.low <= scores.classes <= proposal.high else ""
        mark = "proposed" if scores.classes == proposal.classes else mark
        values = [f"{getattr(scores, name):.3f}" for name in SCORES]
        rows.append([f"{scores.classes} {mark}".rstrip(), *values])
    return {
        "table": Table(("classes", *SCORES.values()), rows, f"k-means of {proposal.images} training images"),
        "note": f"{proposal.classes} classes are proposed, {proposal.low} to {proposal.high} are plausible, by scores "
        "that need no labels.",
        "reasons": list(proposal.reasons),
    }
