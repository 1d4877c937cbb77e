"""Summaries of classes, and images of a class, sorted and filtered."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from sslkit.contracts.evaluator import IGNORED, OUTLIER
from sslkit.errors import InputError
from sslkit.explore.outlier_job import OutlierJob
from sslkit.explore.query import Query
from sslkit.explore.run_images import RunImages
from sslkit.explore.workbench import Workbench
from sslkit.features.similarity import mean_feature, similarities
from sslkit.reporting.escape import escape_controls
from sslkit.runs.provenance_file import trained_with_corrections
from sslkit.runs.run import Run

COVERS = 4
"""Number of images on the card of a class."""


class Queries:
    """Answers to queries about the images of a workbench.

    Args:
        bench: the workbench.
        outliers: outlier scores of the images, or None to create them.
    """

    def __init__(self, bench: Workbench, outliers: OutlierJob | None = None) -> None:
        self.bench = bench
        self.outliers = outliers or OutlierJob(bench.images.features)
        self._once = Lock()
        self._columns: dict[str, Tensor] = {}
        self._lower: list[str] = []
        self._trained_steps = [0] if trained_with_corrections(bench.run) else []  # the first step has them

    def classes(self) -> dict[str, Any]:
        """Return the state of the workbench as JSON values.

        The state contains all classes, how many changes can be undone and redone, and facts about the run.
        """
        bench, images = self.bench, self.bench.images
        with bench.lock:
            classes = [self._card(number) for number in bench.class_numbers()]
            classes += [self._card(number) for number in (OUTLIER, IGNORED) if bool((bench.current == number).any())]
            return {
                "run": bench.run.name,
                "version": bench.version,
                "images": len(images),
                "corrected": int(bench.corrected.sum()),
                "missing": bench.missing,
                "undo": len(bench.history.done),
                "redo": len(bench.history.undone),
                "untrained": bench.history.done != self._trained_steps,
                "classes": classes,
                "splits": list(images.splits),
                "labels": [escape_controls(name) for name in images.label_names],
                "files": bool(images.files),
                "notes": list(images.notes),
                "predict": predict_command(bench.run),
            }

    def _card(self, number: int) -> dict[str, Any]:
        bench, images = self.bench, self.bench.images
        members = bench.members(number)
        confidence = bench.confidence[members]
        labels = images.labels[members]
        labels = labels[labels >= 0]
        counts = torch.bincount(labels) if len(labels) else None
        stable = images.stability
        return {
            "number": number,
            "name": escape_controls(bench.names.get(number, "")),
            "size": len(members),
            "added": number >= images.classes,
            "merged": [other for other in sorted(bench.names) if other != number and bench.leader(other) == number],
            "corrected": int(bench.corrected[members].sum()),
            "confidence": float(confidence.mean()) if len(members) else None,
            "stability": float(stable[number]) if stable is not None and 0 <= number < images.classes else None,
            "majority": escape_controls(images.label_names[int(counts.argmax())]) if counts is not None else None,
            "purity": float(counts.max()) / len(labels) if counts is not None else None,
            "covers": members[confidence.topk(min(COVERS, len(members))).indices].tolist(),
        }

    def images(self, query: Query) -> list[int] | None:
        """Return the indices of the images that match the query, in the order that it asks for.

        The result is None while the outlier scores, by which the images are sorted, are computed.

        Raises:
            InputError: there is no such split or image, or the features are not finite.
        """
        bench, images = self.bench, self.bench.images
        with bench.lock:
            current, confidence, corrected = bench.current, bench.confidence, bench.corrected
        if query.like is not None and not 0 <= query.like < len(images):
            raise InputError(f"there is no image {query.like}")
        keep = (confidence >= query.low) & (confidence <= query.high)
        if query.number is not None:
            keep &= current == query.number
        if query.split:
            if query.split not in images.splits:
                raise InputError(f"there is no split {query.split!r}")
            keep &= images.split == images.splits.index(query.split)
        if query.label is not None:
            keep &= images.labels == query.label
        if query.corrected is not None:
            keep &= corrected == query.corrected
        found = keep.nonzero().flatten()
        if query.text:
            text = query.text.lower()
            names = self._names()
            found = torch.tensor([index for index in found.tolist() if text in names[index]], dtype=torch.int64)
        values = self._values(query, found, confidence)
        return None if values is None else found[values.argsort(descending=query.descending, stable=True)].tolist()

    def details(self, indices: list[int]) -> list[dict[str, Any]]:
        """Return what the page shows about each image, as JSON values.

        Raises:
            InputError: there is no such image.
        """
        bench, images = self.bench, self.bench.images
        if any(not 0 <= index < len(images) for index in indices):
            raise InputError(f"images have the numbers 0 to {len(images) - 1}")
        outlier = self.outliers.scores
        with bench.lock:
            labels = [int(images.labels[index]) for index in indices]
            return [
                {
                    "index": index,
                    "file": escape_controls(images.name(index)),
                    "class": int(bench.current[index]),
                    "discovered": int(bench.discovered[index]),
                    "confidence": float(bench.confidence[index]),
                    "corrected": bool(bench.corrected[index]),
                    "split": images.splits[int(images.split[index])],
                    "label": escape_controls(images.label_names[label]) if label >= 0 else None,
                    "outlier": None if outlier is None else float(outlier[index]),
                }
                for index, label in zip(indices, labels, strict=True)
            ]

    def _values(self, query: Query, found: Tensor, confidence: Tensor) -> Tensor | None:
        """Return the values ``[M]`` by which the M found images are sorted, or None while they are computed."""
        features = self.bench.images.features
        if query.like is not None:
            return similarities(features, found, features[query.like])
        if query.sort == "confidence":
            return confidence[found]
        if query.sort == "similarity":
            return similarities(features, found, mean_feature(features, found))
        if query.sort == "outlier":
            scores = self.outliers.start()
            return None if scores is None else scores[found]
        if query.sort == "date":
            return self._column("date", lambda: _dates(self.bench.images))[found]
        return self._column("file", self._file_order)[found]

    def _column(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        with self._once:
            if name not in self._columns:
                self._columns[name] = compute()
            return self._columns[name]

    def _names(self) -> list[str]:
        if not self._lower:
            self._lower = [self.bench.images.name(index).lower() for index in range(len(self.bench.images))]
        return self._lower

    def _file_order(self) -> Tensor:
        names = self._names()
        order = torch.empty(len(names), dtype=torch.int64)
        order[torch.tensor(sorted(range(len(names)), key=names.__getitem__))] = torch.arange(len(names))
        return order


def predict_command(run: Run) -> str:
    """Return a shell command to show to the user, which writes the classes of the image files in a folder IMAGES."""
    return f"sslkit predict {shlex.quote(str(run.path))} IMAGES --out classes.csv"


def _dates(images: RunImages) -> Tensor:
    """Return the modification time of each file, or the index of each image if the images are not files."""
    if images.root is None:
        return torch.arange(len(images))
    times = []
    for file in images.files:
        try:
            times.append((images.root / file).stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return torch.tensor(times)
