"""Build evaluation results, and finished runs with evaluations without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sslkit.recipe.load import load_recipe
from sslkit.runs.evaluation_result import EVALUATION_FORMAT, EvaluationResult
from sslkit.runs.run import Run


def evaluation_json(**evaluators: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation as in its file, from ``name={"metrics": …, "protocol": …, "baselines": …}``."""
    parts = {name: {"metrics": {}, "protocol": {}, "baselines": {}} | part for name, part in evaluators.items()}
    return {"format": EVALUATION_FORMAT, "run": "runs/a/1", "evaluated_with": {}, "evaluators": parts, "notes": []}


def evaluation_result(**evaluators: dict[str, Any]) -> EvaluationResult:
    """Return an evaluation with the results of these evaluators."""
    return EvaluationResult.from_json(evaluation_json(**evaluators))


PROVENANCE = {
    "seed": 0,
    "versions": {},
    "components": {},
    "training_images": 10,
    "image_shape": [3, 32, 32],
    "class_names": [],
    "hardware": {"device": "cpu", "name": "Z80", "threads": 1, "precision": "float32", "channels_last": True},
}

CLUSTER = evaluation_json(cluster={"metrics": {"acc": 0.5, "nmi": 0.25}, "protocol": {"images": 10}})


def create_evaluated_run(
    recipe: Path, runs: Path, name: str, *evaluations: dict[str, object], settings: tuple[str, ...] = ()
) -> Run:
    """Create a run of a recipe with overrides ``settings`` and with these evaluations, oldest first."""
    run = Run.create(runs, name)
    run.write_status("finished", 10, 10, 2, 2)
    run.recipe.write_text(load_recipe(recipe, settings).to_toml())
    run.provenance.write_text(json.dumps(PROVENANCE))
    for number, evaluation in enumerate(evaluations):
        (run.evaluations / f"{number}.json").write_text(json.dumps(evaluation))
    return run
