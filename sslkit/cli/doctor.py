"""``sslkit doctor``: check the machine and the installation."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from sslkit.cli.common.console import print_json, stdout_console
from sslkit.cli.common.options import JsonOption, RunsOption

if TYPE_CHECKING:
    from sslkit.diagnosis.checks import CheckResult

STYLES = {"ok": "green", "info": "cyan", "warning": "yellow", "error": "bold red"}


def command(runs: RunsOption = None, json: JsonOption = False) -> None:
    """Check versions, devices, disks and plugins, and recommend changes. Exit with code 1 if a check finds an error."""
    from sslkit.diagnosis.checks import run_checks
    from sslkit.runs.find import runs_folder

    results = []
    for result in run_checks(runs_folder(runs)):
        results.append(result)
        if not json:
            print_result(result)
    if json:
        print_json([asdict(result) for result in results])
    if any(result.status == "error" for result in results):
        raise typer.Exit(1)


def print_result(result: CheckResult) -> None:
    """Print the result of a check and, on the next line, its advice if there is any."""
    from rich.text import Text

    line = Text.assemble((f"{result.status:7}", STYLES[result.status]), f"  {result.name}: {result.text}")
    stdout_console().print(line, soft_wrap=True)
    if result.advice:
        stdout_console().print(Text(f"         {result.advice}", style="dim"), soft_wrap=True)
