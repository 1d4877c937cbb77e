"""``sslkit train``: a recipe to a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import JsonOption, RunsOption, SetOption, only_json, print_json

if TYPE_CHECKING:
    from sslkit.runs.run import Run


def command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.", autocompletion=completion.recipes)],
    set_: SetOption = None,
    continue_from: Annotated[
        str | None,
        typer.Option(
            "--continue-from",
            metavar="RUN",
            help="Begin with a finished run's weights, as a new run.",
            autocompletion=completion.runs,
        ),
    ] = None,
    runs: RunsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build everything and one batch, show shapes and sizes, train nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Train a recipe."""
    from sslkit.cli.common.resilient_reporter import stderr_reporter
    from sslkit.recipe.load import load_recipe
    from sslkit.runs.find import find_run, runs_folder

    if dry_run and continue_from:
        raise typer.BadParameter("--dry-run trains nothing: leave --continue-from out")
    # Before torch and Lightning are imported, which takes seconds.
    parent = find_run(continue_from, runs_folder(runs)) if continue_from else None
    with only_json(json):
        checked = load_recipe(recipe, set_ or [])
    if dry_run:
        from sslkit.cli.common.dry_run import show
        from sslkit.training.distributed.environment import is_main_process
        from sslkit.training.dry_run import dry_run as try_out

        with only_json(json):
            found = try_out(checked, stderr_reporter())
        if is_main_process():
            show(found, as_json=json)
        return
    from sslkit.training.train import train

    with only_json(json):
        run = train(checked, runs_folder(runs), stderr_reporter(), parent)
    finish(run, as_json=json)


def finish(run: Run, *, as_json: bool) -> None:
    """Say what became of a run and what to type next; of several processes, only the main one says it.

    Raises:
        typer.Exit: with code 130, where it was interrupted.
    """
    from sslkit.cli.common.summary import tell_finished, tell_interrupted
    from sslkit.training.distributed.environment import is_main_process

    status = run.status
    interrupted = status.state != "finished"
    if not is_main_process():
        pass
    elif as_json:
        print_json({"run": str(run.path), "state": status.state, "step": status.step, "steps": status.steps})
    elif interrupted:
        tell_interrupted(run)
    else:
        tell_finished(run)
    if interrupted:
        raise typer.Exit(130)
