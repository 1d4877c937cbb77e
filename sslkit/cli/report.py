"""``sslkit report``: write an HTML report about one or more runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_line, print_message
from sslkit.cli.common.finished_run import find_finished
from sslkit.cli.common.options import DeviceOption, RunsOption


def command(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs to compare, or one run: folder, NAME/ID, NAME or ID (default: the newest finished run).",
            autocompletion=completion.runs,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="HTML file (default: report.html, or comparison.html for multiple runs)."
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="DIR", help="Also write charts as SVG and PNG, and image grids as PNG."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="FILE", help="TOML file of published results to show."),
    ] = None,
    device: DeviceOption = "auto",
    runs: RunsOption = None,
) -> None:
    """Write a report as one HTML file: verdict, classes, map of the features, training curves and evaluations."""
    from sslkit.device.hardware import choose_device
    from sslkit.reporting.report_page import write_report
    from sslkit.runs.find import runs_folder

    root = runs_folder(runs)
    chosen = [find_finished(each, root) for each in run or (None,)]
    page, notes = write_report(chosen, out, figures=figures, reference=reference, device=choose_device(device))
    for note in notes:
        print_message(f"note: {note}")
    print_message(f"one file of {page.stat().st_size / 1e6:.1f} MB")
    print_line(str(page))
