"""``sslkit export``: write a run's network in a format that another library reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslkit.cli.common.console import print_json, print_line, print_message, reserve_stdout
from sslkit.cli.common.finished_run import find_finished
from sslkit.cli.common.options import FinishedRunArgument, JsonOption, RunsOption


def command(
    run: FinishedRunArgument = None,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="safetensors, onnx, or a library that has the same network, such as torchvision or timm.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="New .safetensors or .onnx file; the model card is written next to it."
        ),
    ],
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Export a finished run's network for another library, verify the export, and write a model card."""
    from sslkit.export.export import export
    from sslkit.runs.find import runs_folder

    with reserve_stdout(json):
        exported = export(find_finished(run, runs_folder(runs)), to, out)
    if json:
        print_json({"file": str(exported.file), "card": str(exported.card), "contents": exported.contents})
        return
    for note in exported.notes:
        print_message(f"note: {note}")
    print_line(f"{exported.file}\n{exported.card}")
    print_line(f"{exported.contents} To load it:\n")
    print_line(exported.loading_code)
