"""``sslkit recipes``: check recipes, and print them with all defaults."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_error, print_json, print_line, print_message
from sslkit.cli.common.options import JsonOption, SetOption

app = typer.Typer(help="Check recipes, and print them with all defaults.", no_args_is_help=True)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Recipes to check.", autocompletion=completion.recipes)],
    json: JsonOption = False,
) -> None:
    """Check recipes without training.

    The command checks syntax, structure, names and options, and whether the backbone, the views and the heads provide
    what the method and the losses need. It does not read the images.
    """
    from sslkit.components.catalog import Catalog
    from sslkit.errors import RecipeError
    from sslkit.recipe.load import load_recipe

    catalog = Catalog.scan()
    results: list[dict[str, Any]] = []
    for file in files:
        try:
            recipe = load_recipe(file, catalog=catalog)
            from sslkit.assembly.check_needs import check_needs  # imports torch

            check_needs(recipe)
            results.append({"recipe": str(file), "problems": []})
            if not json:
                print_line(f"{file}: ok")
        except RecipeError as error:
            results.append({"recipe": str(file), "problems": [asdict(problem) for problem in error.problems]})
            if not json:
                print_error(str(error))
    if json:
        print_json(results)
    if any(result["problems"] for result in results):
        raise typer.Exit(2)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="The recipe.", autocompletion=completion.recipes)],
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Print a recipe with all defaults filled in. The output is a complete recipe."""
    from sslkit.recipe.load import load_recipe

    recipe = load_recipe(file, set_ or [])
    for note in recipe.document.notes:
        print_message(note)
    if json:
        print_json(recipe.resolved())
    else:
        typer.echo(recipe.to_toml(), nl=False)
