"""``sslkit resume``: go on with a run that was stopped."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import JsonOption, RunsOption, only_json
from sslkit.cli.train import finish


class AllowedChange(StrEnum):
    """What may have changed."""

    RECIPE = "recipe"
    DATA = "data"
    PROCESSES = "processes"
    PRECISION = "precision"


def command(
    run: Annotated[
        str | None,
        typer.Argument(
            help="The run: its folder, NAME/ID, NAME or ID (default: the latest unfinished).",
            autocompletion=completion.runs,
        ),
    ] = None,
    allow: Annotated[
        list[AllowedChange] | None,
        typer.Option(
            "--allow",
            help="Go on although recipe, data, processes or precision have changed; repeat for more.",
        ),
    ] = None,
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Go on with a run that was stopped, from its last checkpoint."""
    from sslkit.cli.common.resilient_reporter import stderr_reporter
    from sslkit.runs.find import find_run, runs_folder
    from sslkit.training.train import resume

    found = find_run(run, runs_folder(runs), unfinished=True)
    with only_json(json):
        resumed = resume(found, stderr_reporter(), [change.value for change in allow or ()])
    finish(resumed, as_json=json)
