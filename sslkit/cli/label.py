"""``sslkit label``: names for the classes a run discovered."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import typer

from sslkit.cli.common.console import JsonOption, RunArgument, RunsOption, output, print_json, print_table


def command(
    run: RunArgument = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="CLASS=NAME",
            help="Name a class, by its number; the same name twice makes one class of two; repeat for more.",
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option("--device", help="Where to compute features.")
    ] = "auto",
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Name the classes that a run discovered: writes a page that shows them, and classes.toml in the run.

    With --set only the names are written.  Report and evaluation then use them.
    """
    names = dict(_setting(text) for text in set_ or [])

    from sslkit.device.hardware import choose_hardware
    from sslkit.reporting.label_page import label, name_classes
    from sslkit.reporting.escape import visible
    from sslkit.runs.find import find_run, runs_folder

    found = find_run(run, runs_folder(runs))
    if names:
        known = name_classes(found, names)
        page = None
    else:
        written = label(found, choose_hardware(device, "auto").device)
        known, page = written.names, written.page
    file = found.path / "classes.toml"
    if json:
        print_json({"run": str(found.path), "names": known, "file": str(file), "page": page and str(page)})
        return
    if page is None or any(known):
        print_table("", ("class", "name"), [(str(place), visible(name)) for place, name in enumerate(known)])
    if page is not None:
        output().print(f"{page}\n  shows the classes; open it in a browser", markup=False, soft_wrap=True)
    output().print(f"{file}\n  holds their names; edit it, or use --set 0=NAME", markup=False, soft_wrap=True)


def _setting(text: str) -> tuple[int, str]:
    found = re.fullmatch(r"\s*(\d+)\s*=(.*)", text, flags=re.DOTALL | re.ASCII)
    if not found:
        raise typer.BadParameter(f"--set takes CLASS=NAME, such as 0=cat, not {text!r}")
    return int(found[1]), found[2]
