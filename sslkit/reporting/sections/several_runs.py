"""Comparison of multiple runs on one page: curves, metrics and the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sslkit.reporting.compare import compare
from sslkit.reporting.evaluation_tables import flatten, format_metric
from sslkit.reporting.page_elements import FigureWriter, Table
from sslkit.reporting.sections.training_curves import comparison_charts
from sslkit.runs.run import Run


def comparison_section(
    runs: Sequence[Run], sections: Sequence[dict[str, Any]], figures: FigureWriter
) -> dict[str, Any]:
    """Return the template variables of the comparison. ``sections`` contains the template variables of each run."""
    names = [section["name"] for section in sections]
    overview = [(section["name"], section["verdict"][0], section["summary"], section["state"]) for section in sections]
    evaluated = [run for run, section in zip(runs, sections, strict=True) if section["evaluations"]]
    labels = [section["name"] for section in sections if section["evaluations"]]
    missing = [run.name for run in runs if run not in evaluated]
    result = compare(evaluated) if evaluated else {"rows": [], "gains": [], "differences": []}
    metrics = list(dict.fromkeys(name for row in result["rows"] for name in row["metrics"]))
    rows = [(name, *(format_metric(row["metrics"].get(name)) for row in result["rows"])) for name in metrics]
    return {
        "overview": Table(("run", "verdict", "training", "state"), overview, left_aligned=True),
        "charts": comparison_charts({section["name"]: section["history"] for section in sections}, figures),
        "metrics": Table(("", *labels), rows) if metrics else None,
        "metrics_note": "Scores are in [0, 1]. Each run's section below has the protocols." if metrics else "",
        "gains": result["gains"],
        "differences": result["differences"],
        "missing": f"Not evaluated: {', '.join(missing)}." if missing else "",
        "settings": _settings_table(names, [section["settings"] for section in sections]),
    }


def _settings_table(names: Sequence[str], recipes: Sequence[dict[str, Any]]) -> Table | None:
    settings = [{key: str(value) for key, value in flatten(_number_tables(recipe))} for recipe in recipes]
    keys = dict.fromkeys(key for own in settings for key in own)
    rows = [(key, *(own.get(key, "") for own in settings)) for key in keys]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    return Table(("", *names), rows, left_aligned=True) if rows else None


def _number_tables(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe with numbered tables instead of lists of tables, so that each option is compared separately."""
    numbered: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            numbered |= {key if len(value) == 1 else f"{key} {index}": item for index, item in enumerate(value)}
        else:
            numbered[key] = value
    return numbered
