"""``sslkit eval``: what a run is worth, in figures with their protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sslkit.cli.console import JsonOption, RunsOption, only_json, output, print_json, print_table


def command(
    run: Annotated[
        str | None, typer.Argument(help="The run: its folder, NAME/ID, NAME or ID (default: the latest).")
    ] = None,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster",
            help="Unsupervised classification of the test images, beside k-means (default if nothing else).",
        ),
    ] = False,
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Evaluate a finished run on its test images."""
    from sslkit.evaluation.evaluate import evaluate
    from sslkit.runs import find_run, runs_folder

    # One evaluator so far: asking for none and asking for it come to the same.
    with only_json(json):
        result = evaluate(find_run(run, runs_folder(runs)), ["sslkit:cluster"])
    if json:
        print_json(result)
        return
    output().print(result["run"], markup=False, soft_wrap=True)
    show("cluster", result)


def show(name: str, result: Mapping[str, Any]) -> None:
    """One evaluator's figures and baselines as a table, with the protocol below."""
    figures = {figure: value for figure, value in result[name].items() if isinstance(value, (int, float))}
    rows = [(name, figures), *result["baselines"].items()]
    columns = ["", *(figure.replace("_", " ") for figure in figures)]
    print_table("", columns, [(label, *(_cell(values.get(figure)) for figure in figures)) for label, values in rows])
    for key, value in _flat(result["protocol"][name]):
        output().print(f"{key}: {value}", markup=False, soft_wrap=True, style="dim")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        rows += _flat(value, f"{prefix}{key} ") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return rows
