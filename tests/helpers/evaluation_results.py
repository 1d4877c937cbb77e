"""Build evaluation results for tests."""

from __future__ import annotations

from typing import Any

from sslkit.runs.evaluation_result import EVALUATION_FORMAT, EvaluationResult


def evaluation_json(**evaluators: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation as in its file, from ``name={"metrics": …, "protocol": …, "baselines": …}``."""
    parts = {name: {"metrics": {}, "protocol": {}, "baselines": {}} | part for name, part in evaluators.items()}
    return {"format": EVALUATION_FORMAT, "run": "runs/a/1", "evaluated_with": {}, "evaluators": parts, "notes": []}


def evaluation_result(**evaluators: dict[str, Any]) -> EvaluationResult:
    """Return an evaluation with the results of these evaluators."""
    return EvaluationResult.from_json(evaluation_json(**evaluators))
