"""Train the runs of a comparison, and reuse or continue the runs that exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sslkit.errors import RunError
from sslkit.files import read_regular_file
from sslkit.recipe.recipe import Recipe
from sslkit.runs.find import all_runs
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import newest_valid
from sslkit.training.events import Reporter
from sslkit.training.train import resume, train


def complete_run(recipe: Recipe, runs: Path, images: str, reporter: Reporter, say: Callable[[str], None]) -> Run:
    """Return a run of a recipe: a finished run if there is one, else a continued run, else a new run.

    Args:
        recipe: the recipe.
        runs: the folder of all runs.
        images: checksum of the training images. Runs that were trained on other images are not used.
        reporter: receives progress events.
        say: receives a message if an existing run is used.

    Raises:
        SslkitError: training failed, or another process is training the run.
        KeyboardInterrupt: training was interrupted; its checkpoint is saved.
    """
    same = list(runs_of(recipe, runs, images))
    finished = [run for run in same if run.status.state == "finished" and run.has_weights]
    if finished:
        say(f"{finished[-1].name} has finished already")
        return finished[-1]
    if running := [run for run in same if run.status.state == "running"]:
        raise RunError(f"another process is training {running[-1].name}: wait for it, then give the command again")
    stopped = [run for run in same if newest_valid(run.checkpoints)[0] is not None]
    if stopped:
        say(f"{stopped[-1].name} continues")
        run = resume(stopped[-1], reporter)
    else:
        run = train(recipe, runs, reporter)
    if run.status.state != "finished":
        raise KeyboardInterrupt
    return run


def runs_of(recipe: Recipe, runs: Path, images: str) -> Iterator[Run]:
    """Yield the runs with this resolved recipe and with these training images, oldest first."""
    text = recipe.to_toml()
    for run in all_runs(runs):
        if run.path.parent.name != recipe.run_name or not run.has_valid_status:
            continue
        try:
            if read_regular_file(run.recipe) == text and read_provenance(run).get("images_sha256") == images:
                yield run
        except (OSError, ValueError, RunError):
            continue  # a damaged run is trained again
