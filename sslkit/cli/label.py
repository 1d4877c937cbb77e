"""``sslkit label``: name the classes that a run discovered."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from sslkit.cli import explore
from sslkit.cli.common.console import print_json, print_line, print_table
from sslkit.cli.common.finished_run import find_finished
from sslkit.cli.common.options import FinishedRunArgument, JsonOption, RunsOption


def command(
    run: FinishedRunArgument = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="CLASS=NAME",
            help="Name of the class with this number; repeatable. Classes with the same name count as one class.",
        ),
    ] = None,
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Name the discovered classes with --set; without --set, open `sslkit explore` in the browser to name them.

    Reports, evaluations and predictions use the names, which are saved in the run's classes.toml.
    """
    settings = dict(_parse_setting(text) for text in set_ or [])
    if not settings:
        if json:
            raise typer.BadParameter("--json needs --set CLASS=NAME")
        explore.command(run, runs=runs)
        return

    from sslkit.cli.common.summary import print_class_commands
    from sslkit.reporting.escape import escape_controls
    from sslkit.runs.find import runs_folder
    from sslkit.runs.name_classes import name_classes

    chosen = find_finished(run, runs_folder(runs))
    names = name_classes(chosen, settings)
    file = chosen.path / "classes.toml"
    if json:
        print_json({"run": str(chosen.path), "names": names, "file": str(file)})
        return
    print_table("", ("class", "name"), [(str(number), escape_controls(name)) for number, name in enumerate(names)])
    print_line(f"{file}\n  holds the names")
    print_class_commands("next step:", chosen, train=False)


def _parse_setting(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"\s*(\d+)\s*=(.*)", text, flags=re.DOTALL | re.ASCII)
    if not match:
        raise typer.BadParameter(f"--set takes CLASS=NAME, such as 0=cat, not {text!r}")
    return int(match[1]), match[2]
