"""``sslkit methods``: list the recipes of methods, and compare methods with each other."""

from __future__ import annotations

import typer

from sslkit.cli.methods import compare, list

app = typer.Typer(help="List the recipes of methods, and compare methods with each other.", no_args_is_help=True)
app.command("list")(list.command)
app.command("compare")(compare.command)
