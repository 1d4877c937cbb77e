"""Outlier scores are computed in the background: other requests do not wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from explore.images import blobs, explore_images
from torch import Tensor

from sslkit import Run
from sslkit.errors import InputError
from sslkit.explore import outlier_job
from sslkit.explore.outlier_job import OutlierJob
from sslkit.explore.queries import Queries
from sslkit.explore.query import Query
from sslkit.explore.workbench import Workbench

COUNT = 12
BY_OUTLIER = Query(sort="outlier")


@pytest.fixture
def queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queries]:
    monkeypatch.setattr("sslkit.explore.queries.trained_with_corrections", lambda run: 0)  # the run has no files
    bench = Workbench(Run(tmp_path), explore_images(tmp_path / "images", blobs(COUNT)))
    yield Queries(bench)
    bench.close()


def test_other_requests_are_answered_while_images_are_compared(
    queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, calls = threading.Event(), []

    def scores(
        features: Tensor, *, references: Tensor | None, chunk: int, on_progress: Callable[[int, int], None]
    ) -> Tensor:
        on_progress(3, COUNT)
        calls.append(references)
        go_on.wait(60)
        return torch.arange(COUNT).float()

    monkeypatch.setattr(outlier_job, "outlier_scores", scores)
    monkeypatch.setattr(outlier_job, "WAIT_S", 0.01)
    assert queries.images(BY_OUTLIER) is None
    while not calls:
        assert queries.images(BY_OUTLIER) is None
    assert queries.outliers.progress == 0.25
    assert sorted(queries.images(Query(sort="file")) or []) == list(range(COUNT))
    assert queries.details([3])[0]["outlier"] is None
    go_on.set()
    monkeypatch.setattr(outlier_job, "WAIT_S", 60)
    assert queries.images(BY_OUTLIER) == list(range(COUNT))[::-1]
    assert queries.details([3])[0]["outlier"] == 3
    # The scores depend only on the features: a run with corrected classes has the same.
    assert Queries(queries.bench, queries.outliers).images(BY_OUTLIER) == list(range(COUNT))[::-1]
    assert calls == [None]


def test_many_images_are_compared_with_evenly_spaced_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlier_job, "MAX_COMPARED", 50)
    monkeypatch.setattr(outlier_job, "MAX_REFERENCES", 20)
    features = blobs(60)
    features[7] *= -1
    scores = OutlierJob(features).start()
    assert scores is not None
    assert scores.argmax() == 7
    assert len(scores) == 60


def test_features_that_are_not_finite_are_an_error_and_not_an_endless_wait() -> None:
    features = blobs(10)
    features[4, 0] = torch.nan
    job = OutlierJob(features)
    for _ in range(2):
        with pytest.raises(InputError, match="first image 4"):
            job.start()
    assert torch.equal(OutlierJob(blobs(1)).start(), torch.zeros(1))
