"""``sslkit plugins``: what is installed, whether it keeps its promises, and how to write more."""

from __future__ import annotations

import typer

from sslkit.cli.plugins import check, info, list, new

app = typer.Typer(help="What components are installed, and how to write more.", no_args_is_help=True)
app.command("list")(list.command)
app.command("info")(info.command)
app.command("check")(check.command)
app.command("new")(new.command)
