"""``sslkit compare``: runs side by side, and beside what was published."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import JsonOption, RunsOption, messages, output, print_json, print_table, say


def command(
    run: Annotated[
        list[str], typer.Argument(help="Runs: folder, NAME/ID, NAME or ID each.", autocompletion=completion.runs)
    ],
    reference: Annotated[
        Literal["report-a", "report-b"] | None,
        typer.Option("--reference", help="Add published rows: Self-Classifier's (a) or SwAV's (b) report."),
    ] = None,
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Compare the newest figures of evaluated runs."""
    from sslkit.reporting.compare import compare
    from sslkit.reporting.references import REFERENCES
    from sslkit.runs.find import find_run, runs_folder

    found = [find_run(each, runs_folder(runs)) for each in run]
    result = compare(found, REFERENCES[reference] if reference else None)
    for note in result["notes"]:
        say(messages(), f"note: {note}")
    if json:
        print_json(result)
        return
    names = list(dict.fromkeys(name for row in result["rows"] for name in row["figures"]))
    # Figures down, runs across: there are many figures, and few runs.
    columns = ["", *(row["label"] for row in result["rows"])]
    print_table("", columns, [(name, *(_cell(row["figures"].get(name)) for row in result["rows"])) for name in names])
    if "reference" in result:
        output().print(f"{result['reference']['source']}; {result['reference']['protocol']}", style="dim")
    for difference in result["differences"]:
        output().print(difference, markup=False, soft_wrap=True, style="dim")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
