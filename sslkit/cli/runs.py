"""``sslkit runs``: the runs there are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import JsonOption, RunArgument, RunsOption, messages, output, print_json, print_table

app = typer.Typer(help="The runs there are.", no_args_is_help=True)


@app.command("list")
def list_(runs: RunsOption = None, json: JsonOption = False) -> None:
    """List all runs, oldest first."""
    from sslkit.runs.find import all_runs, runs_folder

    everything = list(all_runs(runs_folder(runs)))
    found = [(run, run.status) for run in everything if run.has_valid_status]
    for run in everything:
        if not run.has_valid_status:
            messages().print(f"damaged, its status.json cannot be read: {run.path}", markup=False, soft_wrap=True)
    if json:
        print_json([{"run": str(run.path), "name": run.name} | asdict(status) for run, status in found])
        return
    rows = [
        (
            run.name,
            status.state,
            f"{status.epoch}/{status.epochs}",
            f"{status.step}/{status.steps}",
            _minute(status.updated),
        )
        for run, status in found
    ]
    print_table("", ("run", "state", "epochs", "steps", "updated (UTC)"), rows, optional=3)


@app.command()
def show(run: RunArgument = None, runs: RunsOption = None, json: JsonOption = False) -> None:
    """Show one run: how far it is, its newest figures, its evaluations."""
    from sslkit.runs.find import find_run, runs_folder
    from sslkit.runs.metrics_file import read_metrics
    from sslkit.runs.evaluation_files import read_evaluations

    found = find_run(run, runs_folder(runs))
    newest = {row.metric: row.value for row in read_metrics(found.metrics)} if found.metrics.exists() else {}
    evaluations, damaged = read_evaluations(found)
    for path, why in damaged.items():
        messages().print(f"{path} is left out: {why}", markup=False, soft_wrap=True)
    status = found.status
    if json:
        print_json(
            {
                "run": str(found.path),
                "status": asdict(status),
                "metrics": newest,
                "evaluations": [each.to_json() for each in evaluations],
            }
        )
        return
    output().print(f"{found.path}\n{status.state}, step {status.step} of {status.steps}", markup=False, soft_wrap=True)
    print_table("newest figures", ("figure", "value"), [(name, f"{value:.5g}") for name, value in newest.items()])
    output().print(f"{len(evaluations)} evaluations in {found.evaluations}", markup=False, soft_wrap=True)


@app.command()
def rm(
    run: Annotated[
        str, typer.Argument(help="The run: its folder, NAME/ID, NAME or ID.", autocompletion=completion.runs)
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs: RunsOption = None,
) -> None:
    """Remove a run and all that is in its folder; one that is being trained is refused."""
    from sslkit.runs.find import find_one_run, remove_run, runs_folder

    folder = runs_folder(runs)
    found = find_one_run(run, folder)
    if not yes:
        typer.confirm(f"remove {found.path}?", abort=True, err=True)
    remove_run(found, folder)
    output().print(f"removed {found.path}", markup=False, soft_wrap=True)


def _minute(updated: str) -> str:
    """A time stamp as one reads it."""
    return updated[:16].replace("T", " ")
