"""The report of a run, or of several beside each other: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sslkit import __version__
from sslkit.files import write_atomic
from sslkit.reporting.sections import training_curves as curves
from sslkit.reporting.compare import compare
from sslkit.reporting.evaluations import protocol
from sslkit.reporting.page_elements import Gallery, Table
from sslkit.reporting.render import render
from sslkit.reporting.sections.run import describe
from sslkit.runs.run import Run


def write_report(
    runs: Sequence[Run],
    out: Path | None = None,
    *,
    figures: Path | None = None,
    reference: str | None = None,
    device: str = "cpu",
) -> tuple[Path, tuple[str, ...]]:
    """Write a report of one run, or one that compares several.

    Args:
        runs: the runs; they need not have finished.
        out: the file; ``report.html`` in the run where None, ``comparison.html`` in the first of several.
        figures: a folder for the figures as files: charts as SVG and PNG, grids of images as PNG; of several runs, a
            folder for each within it.
        reference: name of published figures to show; where None, those on the run's data set.
        device: where features are computed.

    Returns:
        The file, and in sentences what could not be shown and why.

    Raises:
        RunError: a run's files are damaged.
    """
    several = len(runs) > 1
    out = out or runs[0].path / ("comparison.html" if several else "report.html")
    names = [run.name for run in runs]
    described = []
    for place, run in enumerate(runs):
        folder = figures and (figures / f"{place}-{run.name.replace('/', '-')}" if several else figures)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        section = describe(run, Gallery(f"r{place}", folder), reference, device)
        # Runs of different folders may be called alike.
        described.append(section if names.count(run.name) == 1 else section | {"name": str(run.path)})
    comparison = None
    if several:
        if figures:
            figures.mkdir(parents=True, exist_ok=True)
        comparison = _comparison(runs, described, Gallery("all", figures))
    values = {
        "title": "Comparison of runs" if several else runs[0].name,
        "version": __version__,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "runs": described,
        "comparison": comparison,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, render("report.html", "report.js", values))
    return out, tuple(f"{section['name']}: {note}" for section in described for note in section["notes"])


def _comparison(runs: Sequence[Run], described: Sequence[dict[str, Any]], gallery: Gallery) -> dict[str, Any]:
    names = [section["name"] for section in described]
    overview = [(section["name"], section["summary"], section["state"]) for section in described]
    histories = {section["name"]: section["history"] for section in described}
    charts = [item.chart(gallery) for item in curves.of_runs(histories)]
    evaluated = [run for run, section in zip(runs, described, strict=True) if section["evaluations"]]
    labels = [section["name"] for section in described if section["evaluations"]]
    missing = [run.name for run in runs if run not in evaluated]
    result = compare(evaluated) if evaluated else {"rows": [], "differences": []}
    figures = list(dict.fromkeys(name for row in result["rows"] for name in row["figures"]))
    return {
        "overview": Table(("run", "what", "state"), overview, left=True),
        "charts": charts,
        "figures": Table(
            ("", *labels),
            [(name, *(_figure(row["figures"].get(name)) for row in result["rows"])) for name in figures],
        )
        if figures
        else None,
        "source": "Fractions of 1; protocols stand with each run." if figures else "",
        "differences": result["differences"],
        "missing": f"Not evaluated: {', '.join(missing)}." if missing else "",
        "settings": _settings(names, [section["settings"] for section in described]),
    }


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _settings(names: Sequence[str], recipes: Sequence[dict[str, Any]]) -> Table | None:
    flat = [{key: str(value) for key, value in protocol(_unlisted(recipe))} for recipe in recipes]
    keys = dict.fromkeys(key for found in flat for key in found)
    rows = [(key, *(found.get(key, "") for found in flat)) for key in keys]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    return Table(("", *names), rows, left=True) if rows else None


def _unlisted(recipe: dict[str, Any]) -> dict[str, Any]:
    """Lists of tables as tables by place, so that each option is compared by itself."""
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            found |= {key if len(value) == 1 else f"{key} {place}": item for place, item in enumerate(value)}
        else:
            found[key] = value
    return found
