"""``sslkit doctor``: whether everything is fit to train, and what would make it faster."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from sslkit.cli.common.console import JsonOption, RunsOption, output, print_json

if TYPE_CHECKING:
    from sslkit.diagnosis.checks import Finding

MARKS = {"good": ("ok    ", "green"), "note": ("note  ", "yellow"), "broken": ("broken", "bold red")}


def command(runs: RunsOption = None, json: JsonOption = False) -> None:
    """Look at versions, devices, disks and plugins; exits 1 only where something is broken."""
    from sslkit.diagnosis.checks import diagnose
    from sslkit.runs.find import runs_folder

    found = []
    for finding in diagnose(runs_folder(runs)):
        found.append(finding)
        if not json:
            show(finding)
    if json:
        print_json([asdict(finding) for finding in found])
    if any(finding.state == "broken" for finding in found):
        raise typer.Exit(1)


def show(finding: Finding) -> None:
    """A finding, and below it what to do."""
    from rich.text import Text

    mark, style = MARKS[finding.state]
    output().print(Text.assemble((mark, style), f"  {finding.name}: {finding.text}"), soft_wrap=True)
    if finding.advice:
        output().print(Text(f"        {finding.advice}", style="dim"), soft_wrap=True)
