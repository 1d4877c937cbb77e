"""``sslkit train``: train the network that a recipe describes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sslkit.cli.common import completion
from sslkit.cli.common.console import print_json, print_line, reserve_stdout
from sslkit.cli.common.finished_run import find_finished
from sslkit.cli.common.options import JsonOption, RunsOption, SetOption

if TYPE_CHECKING:
    from sslkit.runs.run import Run


def command(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe, a TOML file.", autocompletion=completion.recipes)
    ] = None,
    set_: SetOption = None,
    continue_from: Annotated[
        str | None,
        typer.Option(
            "--continue-from",
            metavar="RUN",
            help="Start a new run from the weights of a finished run.",
            autocompletion=completion.runs,
        ),
    ] = None,
    corrections: Annotated[
        str | None,
        typer.Option(
            "--corrections",
            metavar="RUN",
            help="Instead of RECIPE: train the head of RUN again in a new run, with its corrections.",
            autocompletion=completion.runs,
        ),
    ] = None,
    runs: RunsOption = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Build all components, run one batch, and print shapes and sizes without training."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Train the network that a recipe describes."""
    if corrections is not None:
        if recipe or set_ or continue_from or dry_run:
            raise typer.BadParameter("--corrections RUN takes no other arguments than --runs and --json")
        _train_corrected(corrections, runs, as_json=json)
        return
    if recipe is None:
        raise typer.BadParameter("Missing argument 'RECIPE'; or use --corrections RUN")
    from sslkit.cli.common.resilient_reporter import stderr_reporter
    from sslkit.recipe.load import load_recipe
    from sslkit.runs.find import runs_folder

    # Report an invalid run or recipe before importing torch, which takes seconds.
    parent = find_finished(continue_from, runs_folder(runs)) if continue_from else None
    with reserve_stdout(json):
        checked = load_recipe(recipe, set_ or [])
    if dry_run:
        from sslkit.cli.common.dry_run import print_dry_run
        from sslkit.training.distributed.environment import is_main_process
        from sslkit.training.dry_run import dry_run as run_dry

        with reserve_stdout(json):
            result = run_dry(checked, stderr_reporter(), parent)
        if is_main_process():
            print_dry_run(result, as_json=json)
        return
    from sslkit.training.train import train

    with reserve_stdout(json):
        run = train(checked, runs_folder(runs), stderr_reporter(), parent)
    print_outcome(run, as_json=json)


def print_outcome(run: Run, *, as_json: bool) -> None:
    """Print the outcome of a training run, and suggest the next commands. Only the main process prints.

    Raises:
        typer.Exit: training was interrupted; the exit code is 130.
    """
    from sslkit.cli.common.summary import print_finished_run, print_interrupted_run
    from sslkit.training.distributed.environment import is_main_process

    status = run.status
    interrupted = status.state != "finished"
    if not is_main_process():
        pass
    elif as_json:
        print_json({"run": str(run.path), "state": status.state, "step": status.step, "steps": status.steps})
    elif interrupted:
        print_interrupted_run(run)
    else:
        print_finished_run(run)
    if interrupted:
        raise typer.Exit(130)


def _train_corrected(spec: str, runs: Path | None, *, as_json: bool) -> None:
    """Train the head of a run again with the user's corrections, and print how classes and accuracy changed."""
    from sslkit.runs.find import runs_folder

    chosen = find_finished(spec, runs_folder(runs))

    from sslkit.cli.common.summary import print_class_commands
    from sslkit.device.hardware import choose_device
    from sslkit.explore.corrected_training import train_corrected

    with reserve_stdout(as_json):
        result = train_corrected(chosen, runs_folder(runs), choose_device("auto"), lambda stage, done, total: None)
    if as_json:
        print_json({"run": str(result.run.path), "state": "finished", **result.summary()})
        return
    print_line(f"finished: {result.run.path}")
    print_line(
        f"{result.classes} classes. {result.moved} moved training images were labels, and the new head follows "
        f"{100 * result.followed:.0f} % of them. {result.left_out} images were left out. {result.unused} corrected "
        f"images of other splits were not used. {len(result.changed)} other images changed their class."
    )
    if result.before is not None and result.after is not None:
        print_line(
            f"accuracy on test images: {result.before:.3f} without corrections, {result.after:.3f} with corrections"
        )
    print_line(f"The classes have new numbers, which differ from those of {chosen.name}.")
    print_class_commands("next steps:", result.run, train=False, explore=True)
