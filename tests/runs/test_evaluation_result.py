"""Evaluation results are equal after JSON. Files of a different format version are skipped with advice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation_results import evaluation_json, evaluation_result

from sslkit.runs.evaluation_files import read_evaluations, save_evaluation
from sslkit.runs.evaluation_result import EvaluationResult
from sslkit.runs.run import Run

LINEAR = {
    "metrics": {"top1": 0.5, "count": 3, "fractions": {"0.1": {"top1": 0.25, "count": 2}}, "labels": ["a"]},
    "protocol": {"folds": 5},
    "baselines": {"random_weights": {"metrics": {"top1": 0.125}, "protocol": {"folds": 4}}},
}


def test_a_result_is_read_as_it_was_saved(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "a")
    result = evaluation_result(linear=LINEAR)
    save_evaluation(run, result)
    assert read_evaluations(run) == ([result], {})
    assert result.to_json() == evaluation_json(linear=LINEAR)
    assert isinstance(result.evaluators["linear"].metrics["fractions"]["0.1"]["count"], int), "types are kept"


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_another_format_is_skipped_with_a_remedy(tmp_path: Path, version: object) -> None:
    run = Run.create(tmp_path, "a")
    path = run.evaluations / "old.json"
    path.write_text(json.dumps(evaluation_json(linear=LINEAR) | {"format": version}))
    results, damaged = read_evaluations(run)
    assert results == []
    assert f"its format is {version!r}, supported is 1" in damaged[path]
    assert "`sslkit eval`" in damaged[path]


def test_a_fraction_must_be_a_number() -> None:
    with pytest.raises(ValueError, match=r"fractions\.few"):
        EvaluationResult.from_json(evaluation_json(linear={"metrics": {"fractions": {"few": {}}}}))
