"""``sslkit methods list``: list the recipes in the working directory, with their methods and losses."""

from __future__ import annotations

from typing import Any

from sslkit.cli.common.console import print_json, print_message, print_table
from sslkit.cli.common.options import JsonOption


def command(json: JsonOption = False) -> None:
    """List the recipes in the working directory and in its folder `recipes`, with their methods and losses.

    `sslkit methods compare` accepts the names in the first column.
    """
    from sslkit.components.catalog import Catalog
    from sslkit.errors import RecipeError
    from sslkit.recipe.document import read_document
    from sslkit.recipe.find import all_recipes, recipe_name

    catalog = Catalog.scan()
    rows = []
    for path in all_recipes():
        try:
            tables = read_document(path).tables
        except RecipeError as error:
            print_message(f"warning: {error}")
            continue
        if "backbone" in tables:  # other TOML files are not recipes
            rows.append({"name": recipe_name(path), "path": str(path), **_describe(tables, catalog)})
    if json:
        print_json(rows)
        return
    if not rows:
        print_message("there are no recipes here: change to a folder with recipes/, or name recipes by their paths")
        return
    columns = {"name": "name", "method": "method", "losses": "losses", "backbone": "backbone", "data": "data"}
    if any(row["missing"] for row in rows):
        columns["missing"] = "not installed"
    shown = [[", ".join(row[key]) if isinstance(row[key], list) else row[key] for key in columns] for row in rows]
    print_table("", list(columns.values()), shown, optional=2)


def _describe(tables: dict[str, Any], catalog: Any) -> dict[str, Any]:
    """Return the names of a recipe's components, and those that are not installed."""
    from sslkit.errors import ComponentError
    from sslkit.recipe.document import COMPONENT_TABLES
    from sslkit.recipe.load import DEFAULT_TABLES

    names: dict[str, list[str]] = {}
    missing = []
    for section, kind in COMPONENT_TABLES.items():
        table = tables.get(section, DEFAULT_TABLES.get(section, []))
        items = table if isinstance(table, list) else [table]
        names[section] = [str(item.get("use", "")) for item in items if isinstance(item, dict)]
        for name in names[section]:
            try:
                catalog.find(kind, name)
            except ComponentError:
                missing.append(name)
    short = {section: [name.removeprefix("sslkit:") for name in own] for section, own in names.items()}
    return {
        "method": "".join(short["method"]),
        "losses": short["loss"],
        "backbone": "".join(short["backbone"]),
        "data": "".join(short["data"]),
        "missing": missing,
    }
