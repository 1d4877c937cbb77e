"""``sslkit plugins list``: list the installed components."""

from __future__ import annotations

from typing import Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_json, print_message, print_table
from sslkit.cli.common.options import JsonOption


def command(
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="Only components of this kind, such as loss.", autocompletion=completion.kinds),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the installed components. The list is read from package metadata, so no plugin is imported."""
    from sslkit.components.catalog import PLUGINS_VARIABLE, Catalog
    from sslkit.components.kinds import find_kind

    catalog = Catalog.scan()
    entries = catalog.of_kind(find_kind(kind)) if kind else catalog.entries
    columns = ("kind", "name", "distribution", "version", "target")
    rows = [(e.kind.singular, e.name, e.distribution, e.version, e.target) for e in entries]
    if json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table("", columns, rows, optional=3)
    for name, reason in catalog.unreadable:
        print_message(f"cannot read {name}: {reason}")
    for name in catalog.missing:
        text = f"{PLUGINS_VARIABLE} names {name}, which offers no component here"
        print_message(text)
    if catalog.hidden:
        hidden = sorted({entry.distribution for entry in catalog.hidden})
        print_message(f"{PLUGINS_VARIABLE} hides {', '.join(hidden)}")
