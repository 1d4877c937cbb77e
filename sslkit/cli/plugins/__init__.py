"""``sslkit plugins``: list, describe, check and create components."""

from __future__ import annotations

import typer

from sslkit.cli.plugins import check, info, list, new

app = typer.Typer(help="List, describe, check and create components.", no_args_is_help=True)
app.command("list")(list.command)
app.command("info")(info.command)
app.command("check")(check.command)
app.command("new")(new.command)
