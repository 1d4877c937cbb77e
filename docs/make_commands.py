"""Write docs/commands.md, which shows the help text of every command of the Typer app.

Run ``python docs/make_commands.py`` after changing the help of a command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import getdoc, signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer import Typer
from typer.models import ArgumentInfo

from sslkit.cli.main import app

PAGE = Path(__file__).parent / "commands.md"

HEAD = """\
# Commands

    sslkit COMMAND --help

The command above prints the help text of COMMAND. This page shows the help text of every command.

A RUN is the path of a run folder, `NAME/ID`, `NAME` or `ID`. `latest` is the newest run.

| Exit code | Meaning |
| --- | --- |
| 0 | success |
| 1 | failure |
| 2 | wrong input |
| 3 | `sslkit plugins check` could not check a component |
| 130 | the user pressed Ctrl-C |
| 141 | the reader of a pipe exited before the command, as in `sslkit … \\| head` |

`sslkit --install-completion` installs shell completion for commands, runs, recipes and components.

<!-- Written by `python docs/make_commands.py`; edit the commands instead. -->
"""
"""Markdown text at the top of the page."""


def page() -> str:
    """Return the complete page as Markdown text."""
    return "\n".join([HEAD, *_commands(app, "sslkit")])


def _commands(commands: Typer, name: str) -> Iterator[str]:
    """Yield a section for each command, then the sections of each command group."""
    for command in commands.registered_commands:
        assert command.callback is not None
        yield _section(command.callback, f"{name} {command.name or command.callback.__name__}")
    for group in commands.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, f"{name} {group.name}")


def _section(callback: Callable[..., Any], name: str) -> str:
    """Return the section of a command: its help text and a table of its parameters."""
    hints = get_type_hints(callback, include_extras=True)
    rows = [
        _row(parameter.name, *get_args(hints[parameter.name]), required=parameter.default is parameter.empty)
        for parameter in signature(callback).parameters.values()
    ]
    text = " ".join((getdoc(callback) or "").split()).replace("\\[", "[")  # escaped, because Typer reads markup
    table = ["| Argument or option | Value | Meaning |", "| --- | --- | --- |", *rows]
    return "\n".join([f"## `{name}`", "", text, "", *table, ""])


def _row(name: str, takes: Any, info: Any, *, required: bool) -> str:
    """Return the table row of a parameter."""
    meaning = (info.help or "").replace("|", "\\|")
    if isinstance(info, ArgumentInfo):
        shown = (info.metavar or name.upper()).replace("|", "\\|")
        return f"| `{shown if required else f'[{shown}]'}` | | {meaning} |"
    # For options inside Annotated, typer stores the first option name in the field ``default``.
    names = [info.default, *(info.param_decls or ())] if isinstance(info.default, str) else [f"--{name}"]
    options = ", ".join(f"`{option}`" for option in names)
    return f"| {options} | {_value(name, takes, info.metavar)} | {meaning}{' Required.' if required else ''} |"


def _value(name: str, takes: Any, metavar: str | None) -> str:
    """Return the table cell for an option's value: empty for a flag, else its choices or the name of its value."""
    if takes is bool:
        return ""
    choices = list(_choices(takes))
    shown = ", ".join(choices) if choices else metavar or name.upper()
    return f"`{shown.replace('|', chr(92) + '|')}`"


def _choices(kind: Any) -> Iterator[str]:
    """Yield the values of every ``Literal`` in a type."""
    for part in get_args(kind):
        if get_origin(kind) is Literal:
            yield part
        else:
            yield from _choices(part)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
