"""``sslkit plugins info``: all there is to know about a component."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import JsonOption, only_json, output, print_json, print_table

if TYPE_CHECKING:
    from sslkit.components.catalog import Entry

RECIPES = "recipes"
"""Folder of the working directory whose recipes are looked through."""


def command(
    name: Annotated[
        str, typer.Argument(help="The component: NAME or DISTRIBUTION:NAME.", autocompletion=completion.components)
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", help="Where components of several kinds have the name.", autocompletion=completion.kinds
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show a component: where it comes from, its options with types, defaults and docs, and recipes that use it."""
    from sslkit.components.catalog import Catalog
    from sslkit.components.kinds import find_kind

    catalog = Catalog.scan()
    entries = [catalog.find(find_kind(kind), name)] if kind else catalog.find_all(name)
    with only_json(json):
        found = [_describe(entry) for entry in entries]
    if json:
        print_json(found)
        return
    for each in found:
        _show(each)


def _describe(entry: Entry) -> dict[str, Any]:
    from sslkit.components.importer import load_component

    component = load_component(entry)
    return {
        "kind": entry.kind.singular,
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "target": entry.target,
        "file": inspect.getsourcefile(component),
        "api": component.api,
        "documentation": inspect.getdoc(component) or "",
        "options": [
            {
                "name": name,
                "type": _type(field.annotation),
                "default": "required" if field.is_required() else field.get_default(call_default_factory=True),
                "documentation": " ".join((field.description or "").split()),
            }
            for name, field in component.Options.model_fields.items()
        ],
        "recipes": _recipes(entry),
    }


def _type(annotation: Any) -> str:
    """A type as one reads it: without the bounds, which pydantic keeps beside it."""
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
    """Recipes below the working directory that name the component."""
    import tomllib

    from sslkit.recipe.load import SECTION_KINDS

    found = []
    for path in sorted(Path(RECIPES).rglob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text())
        except (OSError, ValueError):
            continue
        for section, kind in SECTION_KINDS.items():
            own = tables.get(section, [])
            uses = {table.get("use") for table in (own if isinstance(own, list) else [own]) if isinstance(table, dict)}
            if kind == entry.kind.singular and uses & {entry.name, entry.qualified}:
                found.append(str(path))
    return found


def _show(found: dict[str, Any]) -> None:
    console = output()
    console.print(f"{found['kind']} {found['name']}", style="bold", markup=False)
    console.print(f"{found['distribution']} {found['version']}, contract {found['api']}", markup=False, style="dim")
    console.print(f"{found['target']}  {found['file']}", markup=False, style="dim", soft_wrap=True)
    console.print()
    console.print(found["documentation"], markup=False)
    if found["options"]:
        print_table(
            "",
            ("option", "type", "default", "meaning"),
            [(own["name"], own["type"], str(own["default"]), own["documentation"]) for own in found["options"]],
        )
    else:
        console.print("\nno options")
    if found["recipes"]:
        console.print(f"used by {', '.join(found['recipes'])}", markup=False)
