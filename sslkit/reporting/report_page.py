"""The report: an HTML file about one run, or a comparison of multiple runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sslkit import __version__
from sslkit.files import write_atomic
from sslkit.reporting.encoding import assigned_classes
from sslkit.reporting.image_plan import IMAGE_BYTES
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.references import read_reference
from sslkit.reporting.render import render_page
from sslkit.reporting.sections.run import run_section
from sslkit.reporting.sections.several_runs import comparison_section
from sslkit.runs.run import Run


def write_report(
    runs: Sequence[Run],
    out: Path | None = None,
    *,
    figures: Path | None = None,
    reference: Path | None = None,
    device: str = "cpu",
) -> tuple[Path, tuple[str, ...]]:
    """Write a report about one run, or a comparison of multiple runs.

    Args:
        runs: the runs, finished or not.
        out: HTML file. None means ``report.html`` in the folder of a single run, or ``comparison.html`` in the folder
            of the first of multiple runs.
        figures: folder for charts (SVG and PNG) and image grids (PNG); None saves no figures. With multiple runs, each
            run has a sub-folder.
        reference: TOML file of published results to show next to the evaluations.
        device: device that computes features.

    Returns:
        Path of the HTML file, and sentences about missing parts of the report, with the reason.

    Raises:
        RunError: a run's files are damaged.
        RecipeError: the reference cannot be used.
    """
    published = read_reference(reference) if reference else None
    several = len(runs) > 1
    out = out or runs[0].path / ("comparison.html" if several else "report.html")
    names = [run.name for run in runs]
    classes = [assigned_classes(run, device) if several and run.has_weights else None for run in runs]
    sections = []
    for index, run in enumerate(runs):
        folder = figures and (figures / f"{index}-{run.name.replace('/', '-')}" if several else figures)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        own = classes[index]
        others = [other[1] for other in classes if own and other and other is not own and other[0] == own[0]]
        writer = FigureWriter(f"r{index}", folder)
        section = run_section(run, writer, published, device, others, IMAGE_BYTES // len(runs))
        # Runs of different folders may have the same name.
        sections.append(section if names.count(run.name) == 1 else section | {"name": str(run.path)})
    values = {
        "title": "Comparison of runs" if several else runs[0].name,
        "version": __version__,
        "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "runs": sections,
        "comparison": comparison_section(runs, sections, FigureWriter("all", figures)) if several else None,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, render_page("report.html", ("viewer.js", "map.js"), values))
    return out, tuple(f"{section['name']}: {note}" for section in sections for note in section["notes"])
