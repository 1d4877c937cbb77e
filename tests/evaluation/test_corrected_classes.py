"""Corrections that a user saved are applied to a run's images, which are identified by content."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from sslkit import Run
from sslkit.contracts.evaluator import IGNORED, OUTLIER
from sslkit.errors import RunError
from sslkit.evaluation.clustering_metrics import cluster_scores
from sslkit.evaluation.run_subject import RunSubject
from sslkit.reporting.evaluation_tables import protocol_summary
from sslkit.runs.class_names import write_class_names
from sslkit.runs.corrections import FILE, CorrectionsLog, Row


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Run:
    """A copy of a run on digits, whose images are not files."""
    return Run(shutil.copytree(finished_run, tmp_path / "run"))


def test_moves_marks_merges_and_undo(run: Run) -> None:
    subject = RunSubject(run, "cpu")
    logits = subject.features("test").logits
    assert logits is not None
    discovered = logits.argmax(1)
    assert subject.corrected_classes("test") is None, "nothing was corrected"
    write_class_names(run, ("", "", "one", *[""] * 7))
    assert subject.corrected_classes("test") is None, "a name is no correction"

    pixels = subject.split("test").images.gather(torch.arange(6))
    contents = [(hashlib.sha256(data).hexdigest(), len(data)) for data in (row.numpy().tobytes() for row in pixels)]
    log = CorrectionsLog(run.path)
    log.append((Row("move", 4, *contents[0]), Row("move", 11, *contents[1]), Row("outlier", -1, *contents[2])))
    log.append((Row("ignore", -1, *contents[3]), Row("move", 1, "0" * 64, 64)))
    log.append((Row("outlier", -1, *contents[4]),))
    log.append((Row("undo", 2),))
    log.close()
    expected = discovered.clone()
    expected[:4] = torch.tensor([4, 11, OUTLIER, IGNORED])
    found = subject.corrected_classes("test")
    assert found is not None
    assert found.assigned.tolist() == expected.tolist()
    assert found.corrected.nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert found.images == 5, "one corrected image is not in this split"
    assert dict(found.names) == {2: "one"}
    assert RunSubject(run, "cpu", weights="random").corrected_classes("test") is None

    # Classes with the same name are merged, and an added class may have the name of a discovered one.
    write_class_names(run, ("", "", "one", "", "one", *[""] * 5), {11: "one"})
    merged = subject.corrected_classes("test")
    assert merged is not None
    assert merged.assigned[:4].tolist() == [2, 2, OUTLIER, IGNORED]
    assert 4 not in merged.assigned
    assert (merged.confidence >= found.confidence - 1e-9).all()
    provenance = json.loads(run.provenance.read_text()) | {"corrected_from": {"run": "earlier/1", "images": 7}}
    run.provenance.write_text(json.dumps(provenance))
    cluster = run.evaluate({"cluster": {"kmeans_restarts": 1}}).evaluators["cluster"]
    assert cluster.protocol["corrections"] == {"images": 5, "test_images": 4, "left_out": 2}
    assert cluster.protocol["trained_with_corrections"] == 7
    assert protocol_summary({"cluster": cluster}) == (
        "cluster: 359 test images of digits, seed 7, corrections of 5 images, trained with corrections of 7 images, "
        "baselines kmeans pixels, kmeans features"
    )
    assert set(cluster.metrics) >= {"acc", "named", "corrected"}
    labels = subject.features("test").labels
    assert labels is not None
    assert cluster.metrics["acc"] == cluster_scores(discovered, labels, 10, 10)["acc"], "corrections do not change it"

    (run.path / FILE).write_text("step\n")
    with pytest.raises(RunError, match=f"{FILE}:1: the first line must name the columns"):
        subject.corrected_classes("test")
