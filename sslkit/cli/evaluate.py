"""``sslkit eval``: evaluate a run and print its metrics, baselines and protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sslkit.cli.common.console import (
    print_json,
    print_line,
    print_table,
    print_text,
    reserve_stdout,
    stderr_console,
    stdout_console,
)
from sslkit.cli.common.finished_run import find_finished
from sslkit.cli.common.options import FinishedRunArgument, JsonOption, RunsOption

if TYPE_CHECKING:
    from sslkit.evaluation.evaluate import Baseline
    from sslkit.runs.evaluation_result import EvaluationResult

FLAGS = {
    **{name: f"sslkit:{name}" for name in ("cluster", "linear", "knn", "finetune")},
    "segment": "sslkit-segmentation:segment",
}
"""Full name of each evaluator that has its own flag, keyed by the name of the flag."""

TAKES_FRACTIONS = (FLAGS["linear"], FLAGS["finetune"])
"""Evaluators with the options ``fractions`` and ``seeds``."""

ALL_LABELS = "sslkit:linear-sgd"
"""Evaluator that always trains on all labels."""


def command(
    run: FinishedRunArgument = None,
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="Clustering accuracy on the test images, compared with k-means (the default)."),
    ] = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="Linear probe: fit a linear classifier to convergence on frozen features.")
    ] = False,
    knn: Annotated[bool, typer.Option("--knn", help="k-nearest-neighbour classification of frozen features.")] = False,
    finetune: Annotated[bool, typer.Option("--finetune", help="Fine-tune the whole network on labels.")] = False,
    segment: Annotated[
        bool, typer.Option("--segment", help="Segmentation with a light head; needs sslkit-segmentation.")
    ] = False,
    use: Annotated[
        list[str] | None,
        typer.Option("--use", metavar="NAME", help="Any installed evaluator, such as linear-sgd; repeatable."),
    ] = None,
    fractions: Annotated[
        str | None,
        typer.Option("--fractions", metavar="F,F…", help="Train on these fractions of the labels, such as 0.01,0.1."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", metavar="N", help="Random subsets for each fraction; results are mean ± standard deviation."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="random,pretrained",
            help="Also evaluate the network with random weights, or the weights that training started from, or both.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|RECIPE",
            help="Evaluate on another data set. Its options: --set data.OPTION=VALUE.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="EVALUATOR.OPTION=VALUE", help="Set an evaluator's option; repeatable."),
    ] = None,
    protocol_details: Annotated[
        bool, typer.Option("--protocol-details", help="Print every setting that the metrics depend on.")
    ] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option("--device", help="Device that computes features.")
    ] = "auto",
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Evaluate a finished run on its test images."""
    flags = {"cluster": cluster, "linear": linear, "knn": knn, "finetune": finetune, "segment": segment}
    names = [FLAGS[name] for name, wanted in flags.items() if wanted] + (use or [])
    asked: dict[str, dict[str, Any]] = {name: {} for name in names or [FLAGS["cluster"]]}
    _set_fractions(asked, fractions, seeds)
    baselines = _baselines(baseline)

    from sslkit.device.hardware import choose_hardware
    from sslkit.errors import NotSavedError
    from sslkit.evaluation.build_evaluators import build_evaluators, build_other_dataset
    from sslkit.evaluation.evaluate import evaluate
    from sslkit.runs.find import runs_folder
    from sslkit.training.distributed.environment import require_single_process

    require_single_process("sslkit eval")
    with reserve_stdout(json):
        data_settings = [setting for setting in set_ or [] if data and setting.startswith("data.")]
        evaluators = build_evaluators(asked, [setting for setting in set_ or [] if setting not in data_settings])
        other = build_other_dataset(data, data_settings) if data else None
        finished = find_finished(run, runs_folder(runs))
        not_saved = None
        try:
            result = evaluate(
                finished,
                evaluators,
                choose_hardware(device, "auto").device,
                baselines=baselines,
                other=other,
            )
        except NotSavedError as error:
            result, not_saved = error.result, error
    if json:
        print_json(result.to_json())
    else:
        print_evaluation(result, protocol_details=protocol_details)
    if not_saved is not None:
        raise not_saved


def _set_fractions(asked: dict[str, dict[str, Any]], fractions: str | None, seeds: int | None) -> None:
    options: dict[str, Any] = {"fractions": _numbers(fractions)} if fractions is not None else {}
    options |= {"seeds": seeds} if seeds is not None else {}
    if not options:
        return
    if any(_matches(name, ALL_LABELS) for name in asked):
        raise typer.BadParameter(
            "linear-sgd trains on all labels and has neither --fractions nor --seeds: evaluate with it separately"
        )
    takers = [name for name in asked if any(_matches(name, known) for known in TAKES_FRACTIONS)]
    if not takers:
        raise typer.BadParameter("--fractions and --seeds need an evaluation that trains: add --linear or --finetune")
    for name in takers:
        asked[name] |= options


def _baselines(text: str | None) -> list[Baseline]:
    known: dict[str, Baseline] = {"random": "random", "pretrained": "pretrained"}
    names = text.split(",") if text is not None else []
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"--baseline takes random, pretrained or random,pretrained, not {unknown[0]!r}")
    return [known[name] for name in names]


def print_evaluation(result: EvaluationResult, *, protocol_details: bool) -> None:
    """Print the notes, the run, one table of all metrics and baselines, and the protocol.

    The protocol is one sentence, or with ``protocol_details`` a line for each setting of each evaluator.
    """
    from sslkit.reporting.evaluation_tables import flatten, full_protocol, metrics_table, protocol_summary
    from sslkit.reporting.gains import gain_sentences

    for note in result.notes:
        print_text(stderr_console(), f"note: {note}")
    print_line(result.run)
    columns, rows = metrics_table(result.evaluators)
    print_table("", ["", *columns], rows)
    for sentence in gain_sentences(result.evaluators):
        print_line(sentence)
    if not protocol_details:
        print_text(stdout_console(), f"{protocol_summary(result.evaluators)} (all settings: --protocol-details)")
        return
    for name, part in result.evaluators.items():
        print_text(stdout_console(), f"protocol of {name}", style="bold")
        for key, value in flatten(full_protocol(part)):
            print_text(stdout_console(), f"{key}: {value}", style="dim")


def _matches(name: str, qualified: str) -> bool:
    """Return whether ``name``, such as ``linear`` or ``sslkit:linear``, is the component ``qualified``."""
    return name in (qualified, qualified.partition(":")[2])


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"--fractions takes numbers separated by commas, such as 0.01,0.1, not {text!r}"
        ) from None
