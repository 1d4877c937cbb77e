"""``sslkit plugins info``: describe a component and its options."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_json, print_table, reserve_stdout, stdout_console
from sslkit.cli.common.options import JsonOption

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from sslkit.components.catalog import Entry
    from sslkit.contracts.component import Component

RECIPES = "recipes"
"""Folder in the working directory that is searched for recipes."""


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="Component: NAME, DISTRIBUTION:NAME or NAME:VARIANT.", autocompletion=completion.components
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", help="Only describe the component of this kind, such as loss.", autocompletion=completion.kinds
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Describe a component: origin, options with types and defaults, and recipes that use it."""
    from sslkit.components.catalog import Catalog
    from sslkit.components.kinds import find_kind

    catalog = Catalog.scan()
    entries = [catalog.find(find_kind(kind), name)] if kind else catalog.find_all(name)
    with reserve_stdout(json):
        descriptions = [_describe(entry) for entry in entries]
    if json:
        print_json(descriptions)
        return
    for description in descriptions:
        _print(description)


def _describe(entry: Entry) -> dict[str, Any]:
    from sslkit.components.importer import load_component, variant_options

    component = load_component(entry)
    variant = variant_options(entry, component)
    _check_variant(entry, component, variant)
    return {
        "kind": entry.kind.singular,
        "name": f"{entry.name}:{entry.variant}" if entry.variant else entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "target": entry.target,
        "file": inspect.getsourcefile(component),
        "api": component.api,
        "documentation": inspect.getdoc(component) or "",
        **_needs(entry, component),
        "options": [
            {
                "name": name,
                "type": _type(field.annotation),
                "default": variant.get(name, "required" if field.is_required() else _default(field)),
                "documentation": " ".join((field.description or "").split()),
            }
            for name, field in component.Options.model_fields.items()
        ],
        "recipes": _recipes(entry),
    }


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _check_variant(entry: Entry, component: type[Component], variant: dict[str, str]) -> None:
    """Raise an ``InputError`` if the component rejects its variant. Missing required options are not an error."""
    from pydantic import ValidationError

    from sslkit.errors import InputError

    try:
        component.Options.model_validate(variant)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["loc"] and detail["loc"][0] in variant:
                message = detail["msg"].removeprefix("Value error, ")
                raise InputError(f"{entry.name}:{entry.variant}: {message}") from error


def _needs(entry: Entry, component: Any) -> dict[str, list[str]]:
    """Return what a component reads, ``needs``, and what its kind may read, ``known_needs``; {} without needs."""
    from sslkit.contracts.component import KNOWN_NEEDS

    known = KNOWN_NEEDS.get(entry.kind.singular)
    return {} if known is None else {"needs": sorted(component.needs), "known_needs": list(known)}


def _type(annotation: Any) -> str:
    """Return a readable name for a type, without pydantic's constraints."""
    if get_origin(annotation) is Annotated:
        return _type(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return " | ".join(map(repr, get_args(annotation)))
    if get_origin(annotation) in (UnionType, Union):
        return " | ".join(map(_type, get_args(annotation)))
    if get_args(annotation):
        return f"{get_origin(annotation).__name__}[{', '.join(map(_type, get_args(annotation)))}]"
    if annotation is Ellipsis:
        return "..."
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _recipes(entry: Entry) -> list[str]:
    """Return the recipes that use the component, from the folder ``recipes`` of the current directory."""
    import tomllib

    recipes = []
    for path in sorted(Path(RECIPES).rglob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text())
        except (OSError, ValueError):
            continue
        value = tables.get(entry.kind.section, [])
        items = value if isinstance(value, list) else [value]
        if any(isinstance(table, dict) and _uses(entry, table.get("use")) for table in items):
            recipes.append(str(path))
    return recipes


def _uses(entry: Entry, use: Any) -> bool:
    """Return whether a recipe's ``use`` names the component. For an entry without a variant, any variant matches."""
    family = isinstance(use, str) and not entry.variant and use.startswith(f"{entry.name}:")
    name = f"{entry.name}:{entry.variant}" if entry.variant else entry.name
    return family or use in (name, f"{entry.distribution}:{name}")


def _print(facts: dict[str, Any]) -> None:
    console = stdout_console()
    console.print(f"{facts['kind']} {facts['name']}", style="bold", markup=False)
    console.print(f"{facts['distribution']} {facts['version']}, contract {facts['api']}", markup=False, style="dim")
    console.print(f"{facts['target']}  {facts['file']}", markup=False, style="dim", soft_wrap=True)
    console.print()
    console.print(facts["documentation"], markup=False)
    if "needs" in facts:
        needs, known = (", ".join(facts[key]) for key in ("needs", "known_needs"))
        console.print(f"\nneeds: {needs or 'nothing'} (known: {known})", markup=False)
    if facts["options"]:
        columns = ("name", "type", "default", "documentation")
        rows = [tuple(str(option[column]) for column in columns) for option in facts["options"]]
        print_table("", ("option", "type", "default", "meaning"), rows)
    else:
        console.print("\nno options")
    if facts["recipes"]:
        console.print(f"used by {', '.join(facts['recipes'])}", markup=False)
