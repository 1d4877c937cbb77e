"""``sslkit export``: a run's network as a file for another library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslkit.cli.common.console import JsonOption, RunArgument, RunsOption, messages, only_json, output, print_json


def command(
    run: RunArgument = None,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="LIBRARY",
            help="torchvision, timm, or another library that the backbone names; safetensors (own names), or onnx.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The file, .safetensors or .onnx; a model card goes beside.")
    ],
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Write a finished run's network for another library, tried with that library, with a model card."""
    from sslkit.export.export import export
    from sslkit.runs.find import find_run, runs_folder

    with only_json(json):
        written = export(find_run(run, runs_folder(runs)), to, out)
    if json:
        print_json({"file": str(written.file), "card": str(written.card), "left_out": written.left_out})
        return
    for note in written.notes:
        messages().print(f"note: {note}", markup=False, soft_wrap=True)
    output().print(f"{written.file}\n{written.card}", markup=False, soft_wrap=True)
    output().print(f"{written.left_out}  To load it:\n", markup=False, soft_wrap=True)
    output().print(written.loading, markup=False, soft_wrap=True)
