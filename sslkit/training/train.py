"""Training of a recipe into a run folder, and resuming of interrupted runs."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path

from torch import nn

from sslkit.assembly.assemble import Assembly
from sslkit.errors import RunError
from sslkit.files import to_json, write_atomic
from sslkit.recipe.load import load_recipe
from sslkit.recipe.recipe import Recipe
from sslkit.runs.provenance_file import parent_epochs, read_provenance
from sslkit.runs.run import Run
from sslkit.runs.weights import load_weights
from sslkit.runs.weights_metadata import read_backbone_metadata
from sslkit.training.checkpoint.changes import Change, refuse_changes
from sslkit.training.checkpoint.checkpoint_files import Checkpoint, load_checkpoint, newest_valid
from sslkit.training.determinism import deterministic_algorithms
from sslkit.training.distributed import slurm
from sslkit.training.distributed.launch import launch
from sslkit.training.events import Reporter
from sslkit.training.file_errors import explain_file_errors
from sslkit.training.fit import fit
from sslkit.training.monitor.loggers import check_installed
from sslkit.training.preparation import connect_processes, prepare
from sslkit.training.provenance import provenance, record_resumed


def train(recipe: Recipe, runs: Path, reporter: Reporter | None = None, parent: Run | None = None) -> Run:
    """Train a recipe from the beginning.

    Args:
        recipe: a checked recipe.
        runs: the folder of all runs.
        reporter: receives progress events.
        parent: a finished run whose backbone and heads initialise this one; optimizer and schedule start fresh.

    Returns:
        The run, finished or interrupted. In a requeued SLURM job it is the run that the job started before.

    Raises:
        SslkitError: the data or the components cannot be used, or the parent's weights do not fit the recipe.
    """
    return launch(_train, recipe, reporter or Reporter(), runs, parent)


def _train(recipe: Recipe, reporter: Reporter, runs: Path, parent: Run | None) -> Run:
    for note in recipe.document.notes:
        reporter.note(note)
    earlier = slurm.requeued_run(runs, recipe.to_toml())
    if earlier is not None:
        finished = earlier.status.state == "finished"
        if finished or newest_valid(earlier.checkpoints)[0] is not None:
            reporter.note(f"this job was requeued: it continues {earlier.name}")
            return earlier if finished else resume(earlier, reporter)
        reporter.note(f"this job was requeued: {earlier.name} has no checkpoint, so training starts again")
    check_installed(recipe)
    steps_before = _trained_steps(parent) if parent is not None else 0
    hardware, assembly, processes = prepare(
        recipe, reporter, steps_before=steps_before, restoring="nothing" if parent is None else "network"
    )
    record = provenance(assembly, hardware) if processes.is_main else {}
    if parent is not None:
        load_weights(assembly.method.backbone, parent.backbone)
        load_weights(nn.ModuleList(assembly.method.heads.values()), parent.heads)
        assembly.method.on_weights_loaded()
        epochs = parent_epochs(parent) + read_backbone_metadata(parent.backbone)["context"]["epochs"]
        record["continued_from"] = {"run": parent.name, "steps": steps_before, "epochs": epochs}
        reporter.note(f"continues from {parent.name}: {_describe_transfer(assembly)}")
    name = recipe.run.name or Path(recipe.document.source).stem
    run = processes.broadcast(Run.create(runs, name) if processes.is_main else None)
    assert run is not None
    with run.locked() if processes.is_main else nullcontext():
        if processes.is_main:
            with explain_file_errors(run, 0):
                write_atomic(run.recipe, recipe.to_toml())
                write_atomic(run.provenance, to_json(record))
                run.write_status("running", 0, assembly.context.total_steps, 0, assembly.context.epochs)
        reporter.note(f"run folder: {run.path}")
        with deterministic_algorithms(recipe.run.deterministic, reporter):
            return fit(run, assembly, hardware, processes, reporter, checkpoint=None)


def resume(run: Run, reporter: Reporter | None = None, allow: Collection[Change] = ()) -> Run:
    """Resume a run from its last checkpoint, to the same bits as an uninterrupted run.

    Args:
        run: the run.
        reporter: receives progress events.
        allow: what may have changed since the checkpoint.

    Raises:
        RunError: the run is finished, still running, or has no checkpoint; or recipe, data, precision or the number of
            processes have changed.
    """
    _check_unfinished(run)
    return launch(_resume, load_recipe(run.recipe), reporter or Reporter(), run, allow)


def _check_unfinished(run: Run) -> None:
    if run.status.state == "finished" and run.has_weights:
        raise RunError(f"{run.name} is finished: there is nothing to resume")


def _resume(recipe: Recipe, reporter: Reporter, run: Run, allow: Collection[Change]) -> Run:
    processes = connect_processes(recipe)
    # Lock the run only now: until all are connected, processes may still be choosing among unlocked runs.
    chosen = processes.broadcast(run.name)
    if chosen != run.name:
        raise RunError(f"processes would resume different runs, {chosen} and {run.name}: name the run to resume")
    with run.locked() if processes.is_main else nullcontext():
        _check_unfinished(run)
        check_installed(recipe)
        newest = _newest_valid_checkpoint(run, reporter).path if processes.is_main else None
        hardware, assembly, _ = prepare(recipe, reporter, processes, _parent_steps(run), "everything")
        checkpoint = processes.broadcast(newest)
        assert checkpoint is not None
        record = processes.broadcast(provenance(assembly, hardware) if processes.is_main else {})
        content = load_checkpoint(checkpoint)
        assembly.loader.start = step = content["global_step"]
        changes = refuse_changes(run, content, assembly, record, allow)
        del content  # Lightning reads it again: do not hold two copies during the training
        for change in changes.notes:
            reporter.note(f"warning: {change}: results may differ in their bits")
        if processes.is_main:
            with explain_file_errors(run, step):
                if changes.allowed or changes.notes:
                    record_resumed(run, record, step, (*changes.allowed, *changes.notes))
                run.mark_latest()
        reporter.note(f"run folder: {run.path}")
        with deterministic_algorithms(recipe.run.deterministic, reporter):
            return fit(run, assembly, hardware, processes, reporter, checkpoint)


def _newest_valid_checkpoint(run: Run, reporter: Reporter) -> Checkpoint:
    """Return the newest valid checkpoint, with notes on damaged ones and on steps that will be repeated.

    Raises:
        RunError: there is none.
    """
    newest, damaged = newest_valid(run.checkpoints)
    retrain = f"train it again with `sslkit train {run.recipe}`"
    if newest is None and damaged:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in damaged.items())
        raise RunError(f"{run.name} cannot be resumed, all its checkpoints are damaged ({reasons}): {retrain}")
    if newest is None:
        raise RunError(f"{run.name} stopped before its first checkpoint, or they were removed: {retrain}")
    for name, reason in damaged.items():
        reporter.note(f"warning: the checkpoint {name} is skipped: {reason}")
    reached = run.status.step
    if reached > newest.step:
        reporter.note(f"resuming from step {newest.step}: the steps after it, up to {reached}, are repeated")
    return newest


def _trained_steps(parent: Run) -> int:
    """Return the optimizer steps of a finished run's weights, including the runs that it continued."""
    metadata = read_backbone_metadata(parent.backbone)
    return metadata["step"] + metadata["context"].get("steps_before", 0)


def _parent_steps(run: Run) -> int:
    """Return the optimizer steps of the run that a run continues; 0 if it continues none."""
    parent = read_provenance(run).get("continued_from")
    return parent["steps"] if parent is not None else 0


def _describe_transfer(assembly: Assembly) -> str:
    fresh = ["optimizer", "schedule"]
    fresh += [f"loss {name!r}" for name, loss in assembly.method.losses.items() if loss.state_dict()]
    return f"backbone and heads are loaded, {', '.join(fresh[:-1])} and {fresh[-1]} start fresh"
