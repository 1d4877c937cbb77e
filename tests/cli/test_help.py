"""Help texts: Typer reads them as Rich markup, which would remove brackets such as those of ``sslkit[explore]``."""

from __future__ import annotations

from collections.abc import Iterator

import click
import typer.main
from rich.text import Text
from typer.testing import CliRunner

from sslkit.cli.main import app


def help_texts(command: click.Command) -> Iterator[str]:
    yield command.help or ""
    yield from (getattr(parameter, "help", None) or "" for parameter in command.params)
    for child in getattr(command, "commands", {}).values():
        yield from help_texts(child)


def test_no_bracket_is_read_as_markup() -> None:
    texts = list(help_texts(typer.main.get_command(app)))
    assert len(texts) > 50
    for text in texts:
        assert Text.from_markup(text).plain == text.replace("\\[", "[")


def test_help_names_the_extra() -> None:
    assert "Needs sslkit[explore]." in CliRunner().invoke(app, ["explore", "--help"]).output
