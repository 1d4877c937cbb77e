"""Writes docs/commands.md, every command's help, from the commands themselves.

python docs/make_commands.py
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
# Every command

Written by `python docs/make_commands.py`; do not edit it here.  `sslkit COMMAND --help` shows the same.

Runs are named by their folder, `NAME/ID`, `NAME` or `ID`.  Exit codes: 0 done, 1 failed, 2 the input is wrong, 130
interrupted.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_commands(app, "sslkit")])


def _commands(commands: Typer, name: str) -> Iterator[str]:
    """A section for each command, then those of the groups."""
    for command in commands.registered_commands:
        assert command.callback is not None
        yield _section(command.callback, f"{name} {command.name or command.callback.__name__}")
    for group in commands.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, f"{name} {group.name}")


def _section(callback: Callable[..., Any], name: str) -> str:
    hints = get_type_hints(callback, include_extras=True)
    rows = [
        _row(parameter.name, *get_args(hints[parameter.name]), required=parameter.default is parameter.empty)
        for parameter in signature(callback).parameters.values()
    ]
    text = " ".join((getdoc(callback) or "").split())
    return "\n".join([f"## `{name}`", "", text, "", "| | | |", "| --- | --- | --- |", *rows, ""])


def _row(name: str, takes: Any, info: Any, *, required: bool) -> str:
    meaning = (info.help or "").replace("|", "\\|")
    if isinstance(info, ArgumentInfo):
        shown = info.metavar or name.upper()
        return f"| `{shown if required else f'[{shown}]'}` | | {meaning} |"
    # Inside Annotated, typer keeps the first name where the default would be.
    names = [info.default, *(info.param_decls or ())] if isinstance(info.default, str) else [f"--{name}"]
    options = ", ".join(f"`{option}`" for option in names)
    return f"| {options} | {_value(name, takes, info.metavar)} | {meaning}{' Required.' if required else ''} |"


def _value(name: str, takes: Any, metavar: str | None) -> str:
    """What an option takes: nothing, one of several words, or something by name."""
    if takes is bool:
        return ""
    choices = list(_choices(takes))
    shown = ", ".join(choices) if choices else metavar or name.upper()
    return f"`{shown.replace('|', chr(92) + '|')}`"


def _choices(kind: Any) -> Iterator[str]:
    """The words of every ``Literal`` in a type."""
    for part in get_args(kind):
        if get_origin(kind) is Literal:
            yield part
        else:
            yield from _choices(part)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
