"""Outlier scores of a run's images, which a background thread computes when they are first needed."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from sslkit.data.splits import evenly_spaced_indices
from sslkit.errors import InputError
from sslkit.features.outliers import outlier_scores
from sslkit.features.typical_images import MAX_IMAGES as MAX_REFERENCES

MAX_COMPARED = 20_000
"""Maximum number of images that are compared with each other. If there are more, all images are compared with evenly
spaced images."""

CHUNK = 1024
"""Number of images that are compared at a time: 4096 images with 1280 features take 400 MB."""

WAIT_S = 0.5
"""Largest number of seconds that a request waits for the scores."""


class OutlierJob:
    """Background thread that computes the outlier score of each image once.

    Args:
        features: features ``[N, D]``.

    Attributes:
        scores: float32 ``[N]``, or None if they are not computed yet.
        progress: share of the images whose scores are computed, in [0, 1].
    """

    def __init__(self, features: Tensor) -> None:
        self.features = features
        self.scores: Tensor | None = None
        self.progress = 0.0
        self._error: InputError | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> Tensor | None:
        """Return the scores, or None while they are computed. The first call starts the computation.

        Each call waits up to ``WAIT_S`` seconds, which is enough to compute the scores of a small number of images.

        Raises:
            InputError: the features are not finite.
        """
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._compute, name="explore-outliers", daemon=True)
                self._thread.start()
        self._thread.join(WAIT_S)
        if self._error is not None:
            raise self._error
        return self.scores

    def _compute(self) -> None:
        try:
            self.scores = self._scores()
        except InputError as error:
            self._error = error

    def _scores(self) -> Tensor:
        count = len(self.features)
        if count < 2:
            return torch.zeros(count)
        references = None
        if count > MAX_COMPARED:
            references = self.features[evenly_spaced_indices(count, MAX_REFERENCES)]
        return outlier_scores(self.features, references=references, chunk=CHUNK, on_progress=self._report)

    def _report(self, done: int, total: int) -> None:
        self.progress = done / total
