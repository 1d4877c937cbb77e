"""``sslkit bench``: how near a recipe's training comes to what this machine could do, and what is in the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import (
    JsonOption,
    RunsOption,
    SetOption,
    messages,
    only_json,
    output,
    print_json,
    print_table,
)


def command(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            help="The recipe, a TOML file (default: that of the latest run).", autocompletion=completion.recipes
        ),
    ] = None,
    set_: SetOption = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns of each side; medians are shown.")] = 5,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Length of a turn, at least one step.")] = 2.0,
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure a recipe's training against its bare backbone, and tell what takes the difference."""
    from sslkit.cli.common.progress import LineReporter
    from sslkit.recipe.load import load_recipe
    from sslkit.runs.find import find_run, runs_folder

    path = recipe or find_run(None, runs_folder(runs)).recipe
    with only_json(json):
        checked = load_recipe(path, set_ or [])
        from sslkit.bench.bench import bench  # only now: importing torch and Lightning takes seconds

        found = bench(checked, rounds, seconds, LineReporter(messages()))
    if json:
        print_json(found)
        return
    show(found)


def show(found: Mapping[str, Any]) -> None:
    """Both speeds, their ratio, and the costs of a step, with the protocol below."""
    speed, whole = found["images_per_second"], found["seconds_per_step"]["end_to_end"]
    rows = [
        ("ceiling", f"{speed['ceiling']:.1f} images/s"),
        ("training", f"{speed['end_to_end']:.1f} images/s"),
        ("of the ceiling", f"{found['ratio']:.1%} ({min(found['ratios']):.1%} to {max(found['ratios']):.1%})"),
    ]
    print_table("", ("what", "is"), rows)
    costs = [(name, f"{1000 * cost:.1f} ms", f"{cost / whole:.1%}") for name, cost in found["cost"].items()]
    print_table("a step", ("for", "takes", "share"), costs)
    output().print(f"limited by {found['limit']}: {found['advice']}", markup=False, soft_wrap=True)
    for name, value in found["protocol"].items():
        output().print(f"{name}: {value}", markup=False, soft_wrap=True, style="dim")
