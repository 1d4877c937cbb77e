"""``sslkit methods compare``: train methods on one data set with equal budgets, and compare their accuracies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_json, print_message, reserve_stdout
from sslkit.cli.common.options import JsonOption, RunsOption, SetOption

if TYPE_CHECKING:
    from sslkit.method_comparison.budget import Budget
    from sslkit.method_comparison.candidates import SharedSettings


def command(
    methods: Annotated[
        list[str],
        typer.Argument(
            metavar="METHOD,METHOD…",
            help="Names or paths of recipes, separated by commas; sslkit methods list shows the names.",
            autocompletion=completion.methods,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|RECIPE",
            help="Data set (default: that of the first method). Its options: --set data.OPTION=VALUE.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", metavar="N", help="Equal time: minutes of training steps of each run, on this machine."
        ),
    ] = None,
    views_seen: Annotated[
        int | None,
        typer.Option("--views-seen", metavar="N", help="Equal views: number of views that each run is trained on."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", help="Equal epochs: number of passes of each run over the images."),
    ] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N,N…", help="Train each method with each of these seeds.")
    ] = "0",
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="NAME", help="Backbone of all methods (default: that of the first method)."),
    ] = None,
    set_: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for plans, table and chart (default: comparisons/DATA-BACKBONE-BUDGET in the runs folder).",
        ),
    ] = None,
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Train methods on one data set, each for the same time or number of views, and compare their accuracies.

    All methods share data, backbone, image size, batch size and the --set options. Each training run is an ordinary run
    in the runs folder. After an interruption, run the same command again to resume.

    Exit code: 0 if every method has a result, 1 if any failed.
    """
    from sslkit.recipe.find import find_recipe

    for name in _split(methods):
        find_recipe(name)  # report wrong names before importing torch
    budget = _budget(minutes, views_seen, epochs)

    from sslkit.cli.common.resilient_reporter import stderr_reporter
    from sslkit.cli.methods.comparison_output import print_comparison
    from sslkit.method_comparison.candidates import SharedSettings, find_candidates
    from sslkit.method_comparison.compare_methods import Request, compare_methods
    from sslkit.runs.find import runs_folder
    from sslkit.training.distributed.environment import require_single_process

    require_single_process("sslkit methods compare")
    candidates = find_candidates(_split(methods))
    shared = SharedSettings.read(candidates[0], data, backbone, set_ or [])
    root = runs_folder(runs)
    request = Request(
        candidates, shared, budget, _seeds(seeds), root, out or root / "comparisons" / _folder_name(shared, budget)
    )
    try:
        with reserve_stdout(json):
            result = compare_methods(request, stderr_reporter, print_message)
    except KeyboardInterrupt:
        print_message("interrupted: finished runs are kept, and the same command continues with the others")
        raise typer.Exit(130) from None
    if json:
        print_json(result.to_json())
    else:
        print_comparison(result)
    if any(method.state == "failed" for method in result.methods):
        raise typer.Exit(1)


def _split(methods: list[str]) -> list[str]:
    """Return the names in arguments such as ``simclr,moco``."""
    return [name.strip() for argument in methods for name in argument.split(",") if name.strip()]


def _budget(minutes: float | None, views_seen: int | None, epochs: int | None) -> Budget:
    """Return the budget; exactly one of the options must be given."""
    from sslkit.method_comparison.budget import Budget

    options = {"--minutes": minutes, "--views-seen": views_seen, "--epochs": epochs}
    given = [name for name, value in options.items() if value is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else "none of them"
        raise typer.BadParameter(
            f"give exactly one of --minutes, --views-seen and --epochs, so that all methods have an equal budget; "
            f"found {found}"
        )
    value = options[given[0]]
    if value is None or not 0 < value < float("inf"):
        raise typer.BadParameter(f"{given[0]} {value} must be greater than 0")
    if minutes is not None:
        return Budget("minutes", value)
    return Budget("views" if epochs is None else "epochs", value)


def _seeds(text: str) -> list[int]:
    """Return the seeds in a text such as ``0,1,2``, without duplicates."""
    try:
        seeds = list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0:
        raise typer.BadParameter(f"--seeds takes numbers from 0, separated by commas, such as 0,1,2, not {text!r}")
    return seeds


def _folder_name(shared: SharedSettings, budget: Budget) -> str:
    """Return a name such as ``cifar10-resnet18-8-minutes``."""
    names = [str(table.get("use", "")).rpartition(":")[2] for table in (shared.data, shared.backbone)]
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join([*names, str(budget).replace(" ", "")]))
