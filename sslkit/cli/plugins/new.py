"""``sslkit plugins new``: a complete distribution to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import JsonOption, output, print_json


def command(
    name: Annotated[str, typer.Argument(help="What recipes will call it, such as my-loss.")],
    kind: Annotated[
        str,
        typer.Option("--kind", help="Kind of component, such as loss or backbone.", autocompletion=completion.kinds),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to make (default: ./sslkit-NAME).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a distribution with one component that works, its tests, a recipe, and what it takes to publish it."""
    from sslkit.components.kinds import find_kind
    from sslkit.scaffold import write_distribution

    folder = write_distribution(name, find_kind(kind), out)
    if json:
        print_json({"folder": str(folder)})
        return
    console = output()
    console.print(f"wrote {folder}; go on with:", markup=False)
    for line in (f"cd {folder}", "pip install -e '.[dev]'", "pytest", f"sslkit train recipes/{name}.toml"):
        console.print(f"  {line}", markup=False, soft_wrap=True)
