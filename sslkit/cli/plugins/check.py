"""``sslkit plugins check``: run the conformance tests on installed components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_json, print_table, reserve_stdout
from sslkit.cli.common.options import JsonOption

if TYPE_CHECKING:
    from sslkit.components.catalog import Entry
    from sslkit.testing.conformance import ConformanceResult


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
    """Import components, check their contracts, and run the fast conformance tests with default options."""
    from sslkit.components.catalog import Catalog
    from sslkit.testing.conformance import check_component

    catalog = Catalog.scan()
    entries = list(dict.fromkeys(entry for name in names for entry in catalog.find_all(name))) if names else None
    rows = []
    with reserve_stdout(json):
        for entry in catalog.entries if entries is None else entries:
            rows += [(entry, result) for result in check_component(entry)]
    if json:
        print_json(
            [
                {
                    "kind": entry.kind.singular,
                    "name": entry.name,
                    "distribution": entry.distribution,
                    "version": entry.version,
                    "test": result.test,
                    "status": result.status,
                    "reason": result.reason,
                }
                for entry, result in rows
            ]
        )
    else:
        _print(rows)
    if any(result.status == "failed" for _, result in rows):
        raise typer.Exit(1)


def _print(rows: list[tuple[Entry, ConformanceResult]]) -> None:
    """Print a row for each component, followed by one for each test that did not pass."""
    by_entry: dict[Entry, list[ConformanceResult]] = {}
    for entry, result in rows:
        by_entry.setdefault(entry, []).append(result)
    table = []
    for entry, results in by_entry.items():
        passed = sum(result.status == "passed" for result in results)
        summary = f"{passed} of {len(results)} tests passed"
        table.append((entry.name, entry.kind.singular, f"{entry.distribution} {entry.version}".strip(), summary))
        for result in results:
            if result.status != "passed":
                table.append(("", result.status, result.test, result.reason))
    print_table("", ("name", "kind", "distribution", ""), table)
