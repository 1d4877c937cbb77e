"""``sslkit resume``: continue a run that was stopped."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import reserve_stdout
from sslkit.cli.common.options import JsonOption, RunsOption
from sslkit.cli.train import print_outcome


class AllowedChange(StrEnum):
    """Kinds of changes since the run was stopped that ``sslkit resume --allow`` accepts."""

    RECIPE = "recipe"
    DATA = "data"
    PROCESSES = "processes"
    PRECISION = "precision"


def command(
    run: Annotated[
        str | None,
        typer.Argument(
            help="Run: folder, NAME/ID, NAME or ID (default: the latest unfinished run).",
            autocompletion=completion.runs,
        ),
    ] = None,
    allow: Annotated[
        list[AllowedChange] | None,
        typer.Option(
            "--allow",
            help="Kind of change to accept: recipe, data, processes or precision; repeatable.",
        ),
    ] = None,
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Continue a stopped run from its newest checkpoint."""
    from sslkit.cli.common.resilient_reporter import stderr_reporter
    from sslkit.runs.find import find_unfinished_run, runs_folder
    from sslkit.training.train import resume

    stopped = find_unfinished_run(run, runs_folder(runs))
    with reserve_stdout(json):
        resumed = resume(stopped, stderr_reporter(), [change.value for change in allow or ()])
    print_outcome(resumed, as_json=json)
