"""``sslkit label``: name the classes that a run discovered."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from sslkit.cli.common.console import print_json, print_line, print_table
from sslkit.cli.common.finished_run import find_finished
from sslkit.cli.common.options import DeviceOption, FinishedRunArgument, JsonOption, RunsOption


def command(
    run: FinishedRunArgument = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="CLASS=NAME",
            help="Name of the class with this number; repeatable. Classes with the same name count as one class.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Name the discovered classes: write label.html, which shows the classes, and classes.toml, which stores the names.

    With --set, only classes.toml is written. Reports, evaluations and predictions use the names.
    """
    settings = dict(_parse_setting(text) for text in set_ or [])

    from sslkit.device.hardware import choose_device
    from sslkit.reporting.escape import escape_controls
    from sslkit.reporting.label_page import name_classes, write_label_page
    from sslkit.runs.find import runs_folder

    chosen = find_finished(run, runs_folder(runs))
    if settings:
        page, names = None, name_classes(chosen, settings)
    else:
        page, names = write_label_page(chosen, choose_device(device))
    file = chosen.path / "classes.toml"
    if json:
        print_json({"run": str(chosen.path), "names": names, "file": str(file), "page": page and str(page)})
        return
    if page is None or any(names):
        print_table("", ("class", "name"), [(str(number), escape_controls(name)) for number, name in enumerate(names)])
    if page is not None:
        print_line(f"{page}\n  shows the classes: open it in a browser")
    print_line(f"{file}\n  holds the names: edit it, or use --set 0=NAME")


def _parse_setting(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"\s*(\d+)\s*=(.*)", text, flags=re.DOTALL | re.ASCII)
    if not match:
        raise typer.BadParameter(f"--set takes CLASS=NAME, such as 0=cat, not {text!r}")
    return int(match[1]), match[2]
