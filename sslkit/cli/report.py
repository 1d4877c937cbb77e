"""``sslkit report``: what a run found, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import RunsOption, messages, output


def command(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            help="The run: its folder, NAME/ID, NAME or ID (default: the latest); several are compared.",
            autocompletion=completion.runs,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The page (default: report.html in the run, comparison.html of several)."
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures", metavar="DIR", help="Also write the figures there: charts as SVG and PNG, grids as PNG."
        ),
    ] = None,
    reference: Annotated[
        Literal["report-a", "report-b"] | None,
        typer.Option("--reference", help="Published figures to show (default: those on the run's data set)."),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option("--device", help="Where to compute features.")
    ] = "auto",
    runs: RunsOption = None,
) -> None:
    """Write a page that shows what a run trained, found and scored; it needs no network and no other file."""
    from sslkit.device.hardware import choose_hardware
    from sslkit.reporting.report_page import write_report
    from sslkit.runs.find import find_run, runs_folder

    root = runs_folder(runs)
    found = [find_run(each, root) for each in run] if run else [find_run(None, root)]
    page, notes = write_report(found, out, figures=figures, reference=reference, device=choose_hardware(device, "auto").device)
    for note in notes:
        messages().print(f"note: {note}", markup=False, soft_wrap=True)
    output().print(str(page), markup=False, soft_wrap=True)
