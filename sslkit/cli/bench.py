"""``sslkit bench``: measure how fast a recipe trains on this machine, and find the bottleneck."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_json, print_line, print_table, reserve_stdout, stderr_console
from sslkit.cli.common.options import JsonOption, RunsOption, SetOption


def command(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            help="Recipe, a TOML file (default: the recipe of the latest run).", autocompletion=completion.recipes
        ),
    ] = None,
    set_: SetOption = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Number of measurement rounds; medians are shown.")
    ] = 5,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="Seconds to measure each part in a round; at least one step.")
    ] = 2.0,
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Compare the training speed of a recipe with the speed of its backbone alone, and show where time is lost."""
    from sslkit.cli.common.progress import LineReporter
    from sslkit.recipe.load import load_recipe
    from sslkit.runs.find import find_run, runs_folder

    path = recipe or find_run(None, runs_folder(runs)).recipe
    with reserve_stdout(json):
        checked = load_recipe(path, set_ or [])
        from sslkit.bench.bench import bench  # late, because importing torch and Lightning takes seconds

        result = bench(checked, rounds, seconds, LineReporter(stderr_console()))
    if json:
        print_json(result)
        return
    print_result(result)


def print_result(result: Mapping[str, Any]) -> None:
    """Print the backbone's speed, the training speed, the time of each part of a step, the bottleneck and the
    protocol."""
    speed = result["images_per_second"]
    rows = [
        ("ceiling", f"{speed['ceiling']:.1f} images/s"),
        ("training", f"{speed['end_to_end']:.1f} images/s"),
        ("of the ceiling", f"{result['ratio']:.1%} ({min(result['ratios']):.1%} to {max(result['ratios']):.1%})"),
    ]
    print_table("", ("measurement", "value"), rows)
    costs = [(part, f"{1000 * cost:.1f} ms", f"{result['share'][part]:.1%}") for part, cost in result["cost"].items()]
    print_table("time per step", ("part", "time", "share"), costs)
    print_line(f"limited by {result['bottleneck']}: {result['advice']}")
    for name, value in result["protocol"].items():
        print_line(f"{name}: {value}", style="dim")
