"""``sslkit compare``: print the metrics of multiple runs and of published results side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_json, print_line, print_table, print_text, stderr_console, stdout_console
from sslkit.cli.common.finished_run import find_finished
from sslkit.cli.common.options import JsonOption, RunsOption


def command(
    run: Annotated[
        list[str],
        typer.Argument(help="Runs, each given as a folder, NAME/ID, NAME or ID.", autocompletion=completion.runs),
    ],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="FILE", help="TOML file of published results to compare with."),
    ] = None,
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Compare the latest metrics of evaluated runs, and list the differences in settings and protocol."""
    from sslkit.reporting.compare import compare
    from sslkit.reporting.evaluation_tables import format_metric
    from sslkit.reporting.references import read_reference
    from sslkit.runs.find import runs_folder

    published = read_reference(reference) if reference else None
    result = compare([find_finished(each, runs_folder(runs)) for each in run], published)
    for note in result["notes"]:
        print_text(stderr_console(), f"note: {note}")
    if json:
        print_json(result)
        return
    metrics = list(dict.fromkeys(name for row in result["rows"] for name in row["metrics"]))
    # Metrics are rows, as there are more metrics than runs.
    columns = ["", *(row["label"] for row in result["rows"])]
    rows = [(name, *(format_metric(row["metrics"].get(name)) for row in result["rows"])) for name in metrics]
    print_table("", columns, rows)
    if "reference" in result:
        text = f"{result['reference']['source']}; {result['reference']['protocol']}"
        print_text(stdout_console(), text, style="dim")
    for line in result["gains"]:
        print_line(line)
    for difference in result["differences"]:
        print_line(difference, style="dim")
