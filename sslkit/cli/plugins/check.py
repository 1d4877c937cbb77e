"""``sslkit plugins check``: run the conformance tests on installed components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_json, print_table, reserve_stdout
from sslkit.cli.common.options import JsonOption

if TYPE_CHECKING:
    from sslkit.components.catalog import Entry
    from sslkit.testing.conformance import ComponentStatus, ConformanceResult

NOT_CHECKED = 3
"""Exit code if no component failed and at least one was not checked."""


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
    """Import components, check their contracts, and run their conformance tests.

    The tests use the options that the component's method check_options returns, or its default options.

    A component is "not checked" if at least half of its tests were skipped. Tests are skipped if the component rejects
    the options, context or data of a test. Without check_options, slow tests are skipped; if an option has no default,
    nearly all tests are skipped.

    Exit code: 0 if every component passed, 1 if any failed, 3 if none failed and at least one was not checked.
    """
    from sslkit.components.catalog import Catalog
    from sslkit.testing.conformance import check_component, component_status

    catalog = Catalog.scan()
    entries = list(dict.fromkeys(entry for name in names for entry in catalog.find_all(name))) if names else None
    with reserve_stdout(json):
        checked = {entry: check_component(entry) for entry in (catalog.entries if entries is None else entries)}
    statuses = {entry: component_status(results) for entry, results in checked.items()}
    if json:
        print_json(
            [
                {
                    "kind": entry.kind.singular,
                    "name": entry.name,
                    "distribution": entry.distribution,
                    "version": entry.version,
                    "component": statuses[entry],
                    "test": result.test,
                    "status": result.status,
                    "reason": result.reason,
                }
                for entry, results in checked.items()
                for result in results
            ]
        )
    else:
        _print(checked, statuses)
    if "failed" in statuses.values():
        raise typer.Exit(1)
    if "not checked" in statuses.values():
        raise typer.Exit(NOT_CHECKED)


def _print(checked: Mapping[Entry, Sequence[ConformanceResult]], statuses: Mapping[Entry, ComponentStatus]) -> None:
    """Print a row for each component, followed by a row for each reason why some of its tests did not pass."""
    table = []
    for entry, results in checked.items():
        passed = sum(result.status == "passed" for result in results)
        summary = f"{statuses[entry]}: {passed} of {len(results)} tests passed"
        table.append((entry.name, entry.kind.singular, f"{entry.distribution} {entry.version}".strip(), summary))
        problems: dict[tuple[str, str], list[str]] = {}
        for result in results:
            if result.status != "passed":
                problems.setdefault((result.status, result.reason), []).append(result.test)
        table += [("", status, "; ".join(tests), reason) for (status, reason), tests in problems.items()]
    print_table("", ("name", "kind", "distribution", ""), table)
