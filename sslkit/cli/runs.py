"""``sslkit runs``: list, show and remove runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sslkit.cli.common.console import print_json, print_line, print_message, print_table
from sslkit.cli.common.options import JsonOption, RunArgument, RunsOption, run_argument

app = typer.Typer(help="List, show and remove runs.", no_args_is_help=True)


@app.command("list")
def list_(runs: RunsOption = None, json: JsonOption = False) -> None:
    """List all runs, oldest first."""
    from sslkit.errors import RunError
    from sslkit.runs.find import all_runs, runs_folder

    valid = []
    for run in all_runs(runs_folder(runs)):
        try:
            valid.append((run, run.status))
        except RunError as error:
            print_message(f"warning: {error}")
    if json:
        print_json([{"run": str(run.path), "name": run.name} | asdict(status) for run, status in valid])
        return
    rows = [
        (
            run.name,
            status.state,
            f"{status.epoch}/{status.epochs}",
            f"{status.step}/{status.steps}",
            status.updated[:16].replace("T", " "),
        )
        for run, status in valid
    ]
    print_table("", ("run", "state", "epochs", "steps", "updated (UTC)"), rows, optional=3)


@app.command()
def show(run: RunArgument = None, runs: RunsOption = None, json: JsonOption = False) -> None:
    """Show a run's state, latest metrics and evaluations."""
    from sslkit.runs.evaluation_files import read_evaluations
    from sslkit.runs.find import find_run, runs_folder
    from sslkit.runs.metrics_file import read_metrics

    selected = find_run(run, runs_folder(runs))
    latest = {row.metric: row.value for row in read_metrics(selected.metrics)} if selected.metrics.exists() else {}
    evaluations, damaged = read_evaluations(selected)
    for path, reason in damaged.items():
        print_message(f"warning: {path} is left out: {reason}")
    status = selected.status
    if json:
        saved = [result.to_json() for result in evaluations]
        print_json({"run": str(selected.path), "status": asdict(status), "metrics": latest, "evaluations": saved})
        return
    progress = f"{status.state}, step {status.step} of {status.steps}"
    print_line(f"{selected.path}\n{progress}")
    print_table("latest metrics", ("metric", "value"), [(name, f"{value:.5g}") for name, value in latest.items()])
    print_line(f"{len(evaluations)} evaluations in {selected.evaluations}")


@app.command()
def rm(
    run: Annotated[str, run_argument("Run: folder, NAME/ID, NAME or ID.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    runs: RunsOption = None,
) -> None:
    """Delete a run's folder, unless a process is training the run."""
    from sslkit.runs.find import find_one_run, remove_run, runs_folder

    folder = runs_folder(runs)
    selected = find_one_run(run, folder)
    if not yes:
        typer.confirm(f"remove {selected.path}?", abort=True, err=True)
    remove_run(selected, folder)
    print_line(f"removed {selected.path}")
