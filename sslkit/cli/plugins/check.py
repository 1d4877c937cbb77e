"""``sslkit plugins check``: whether what is installed keeps its promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import JsonOption, only_json, print_json, print_table

if TYPE_CHECKING:
    from sslkit.components.catalog import Entry
    from sslkit.testing.conformance import Result


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|DISTRIBUTION]...",
            help="Components or distributions (default: all).",
            autocompletion=completion.components,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Import components, check their contracts, and try the quick part of the conformance kit on them."""
    from sslkit.components.catalog import Catalog
    from sslkit.testing.conformance import check

    catalog = Catalog.scan()
    entries = list(dict.fromkeys(entry for name in names for entry in catalog.find_all(name))) if names else None
    rows = []
    with only_json(json):
        for entry in catalog.entries if entries is None else entries:
            for result in check(entry):
                rows.append((entry, result))
    broken = [row for row in rows if row[1].state == "broken"]
    if json:
        print_json(
            [
                {
                    "kind": entry.kind.singular,
                    "name": entry.name,
                    "distribution": entry.distribution,
                    "version": entry.version,
                    "promise": result.promise,
                    "state": result.state,
                    "reason": result.reason,
                }
                for entry, result in rows
            ]
        )
    else:
        _show(rows)
    if broken:
        raise typer.Exit(1)


def _show(rows: list[tuple[Entry, Result]]) -> None:
    """A row for each component, and below it one for each promise that is not kept."""
    told: dict[Entry, list[Result]] = {}
    for entry, result in rows:
        told.setdefault(entry, []).append(result)
    table = []
    for entry, results in told.items():
        kept = sum(result.state == "kept" for result in results)
        summary = f"{kept} of {len(results)} promises kept"
        table.append((entry.name, entry.kind.singular, f"{entry.distribution} {entry.version}".strip(), summary))
        for result in results:
            if result.state != "kept":
                table.append(("", result.state, result.promise, result.reason))
    print_table("", ("name", "kind", "distribution", ""), table)
