"""``sslkit eval``: what a run is worth, in figures with their protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import typer

from sslkit.cli.console import (
    JsonOption,
    RunArgument,
    RunsOption,
    messages,
    only_json,
    output,
    print_json,
    print_table,
    say,
)

BUILT_IN = {name: f"sslkit:{name}" for name in ("cluster", "linear", "knn", "finetune", "segment")}

REPORT = "sslkit:linear-report"

LABELLED = (BUILT_IN["linear"], BUILT_IN["finetune"])
"""Evaluations that can do with a fraction of the labels."""


def command(
    run: RunArgument = None,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster",
            help="Unsupervised classification of the test images, beside k-means (default if nothing else).",
        ),
    ] = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="Linear probe: the best linear classifier of frozen features.")
    ] = False,
    protocol: Annotated[
        Literal["best", "report"],
        typer.Option("--protocol", help="Of --linear: the solved optimum, or 100 augmented epochs as in the report."),
    ] = "best",
    knn: Annotated[bool, typer.Option("--knn", help="Nearest-neighbour classification of frozen features.")] = False,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Train the whole network on labels, end to end.")
    ] = False,
    segment: Annotated[
        bool, typer.Option("--segment", help="Transfer to segmentation: digits on textured backgrounds.")
    ] = False,
    use: Annotated[
        list[str] | None,
        typer.Option("--use", metavar="NAME", help="Any installed evaluator, a plugin's say; repeat for more."),
    ] = None,
    fractions: Annotated[
        str | None,
        typer.Option("--fractions", metavar="F,F…", help="Evaluate with these fractions of the labels, 0.01,0.1 say."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", help="Draws of each fraction: gives mean ± deviation.")
    ] = None,
    baseline: Annotated[
        Literal["random"] | None,
        typer.Option("--baseline", help="Repeat everything with the untrained network, the floor of every figure."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="NAME|RECIPE", help="Evaluate on another data set; options: --set data.x=y."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="EVALUATOR.OPTION=VALUE", help="Change an evaluator's option; repeat for more."),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option("--device", help="Where to compute features.")
    ] = "auto",
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Evaluate a finished run on its test images."""
    if protocol == "report" and not linear:
        raise typer.BadParameter("--protocol is for --linear")
    flags = {"cluster": cluster, "linear": linear, "knn": knn, "finetune": finetune, "segment": segment}
    names = [BUILT_IN[name] for name, wanted in flags.items() if wanted] + (use or [])
    if protocol == "report":
        names = [REPORT if name == BUILT_IN["linear"] else name for name in names]
    asked: dict[str, dict[str, Any]] = {name: {} for name in names or [BUILT_IN["cluster"]]}
    few: dict[str, Any] = {"fractions": _numbers(fractions)} if fractions is not None else {}
    few |= {"seeds": seeds} if seeds is not None else {}
    if few:
        if any(_is(name, REPORT) for name in asked):
            raise typer.BadParameter(
                "--fractions and --seeds are not for the report's probe (--protocol report), which is trained once, on "
                "all labels of the training images"
            )
        labelled = [name for name in asked if any(_is(name, known) for known in LABELLED)]
        if not labelled:
            raise typer.BadParameter("--fractions and --seeds need an evaluation that trains: --linear or --finetune")
        for name in labelled:
            asked[name] |= few

    from sslkit.device.hardware import choose
    from sslkit.errors import NotSavedError
    from sslkit.evaluation.evaluate import build_evaluators, evaluate, other_data
    from sslkit.runs.find import find_run, runs_folder
    from sslkit.training.distributed.processes import require_single_process

    require_single_process("sslkit eval")
    with only_json(json):
        of_data = [setting for setting in set_ or [] if data and setting.startswith("data.")]
        evaluators = build_evaluators(asked, [setting for setting in set_ or [] if setting not in of_data])
        other = other_data(data, of_data) if data else None
        found = find_run(run, runs_folder(runs))
        where = choose(device, "auto").device
        not_saved = None
        try:
            result = evaluate(found, evaluators, where, random_baseline=baseline == "random", other=other)
        except NotSavedError as error:
            result, not_saved = error.result, error
    if json:
        print_json(result)
    else:
        tell(result, evaluators)
    if not_saved is not None:
        raise not_saved


def tell(result: Mapping[str, Any], evaluators: Iterable[str]) -> None:
    """Notes, the run, the figures of all evaluators and their baselines in one table, and each one's protocol below."""
    from sslkit.reporting import evaluations

    names = list(evaluators)
    for note in result.get("notes", []):
        say(messages(), f"note: {note}")
    output().print(result["run"], markup=False, soft_wrap=True)
    columns, rows = evaluations.table(names, result)
    print_table("", ["", *columns], rows)
    for name in names:
        say(output(), f"protocol of {name}", style="bold")
        for key, value in evaluations.protocol(evaluations.said(name, result)):
            say(output(), f"{key}: {value}", style="dim")


def _is(name: str, known: str) -> bool:
    """Whether that may be meant, also by its name alone."""
    return name in (known, known.partition(":")[2])


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"--fractions takes numbers with commas between, such as 0.01,0.1, not {text!r}"
        ) from None
