"""``sslkit plugins new``: create a distribution with a working component."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_json, print_line
from sslkit.cli.common.options import JsonOption


def command(
    name: Annotated[str, typer.Argument(help="Name of the component in recipes, such as my-loss.")],
    kind: Annotated[
        str,
        typer.Option("--kind", help="Kind of component, such as loss or backbone.", autocompletion=completion.kinds),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to create (default: ./sslkit-NAME).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create a package with a working component, its tests, a recipe, and packaging files."""
    from sslkit.components.kinds import find_kind
    from sslkit.scaffold import write_distribution

    folder = write_distribution(name, find_kind(kind), out)
    if json:
        print_json({"folder": str(folder)})
        return
    print_line(f"created {folder}; next steps:")
    for line in (f"cd {folder}", "pip install -e '.[dev]'", "pytest", f"sslkit train recipes/{name}.toml"):
        print_line(f"  {line}")
