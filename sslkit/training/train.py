"""Train a recipe in a new run folder, and resume interrupted runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from sslkit.assembly.position import Position
from sslkit.assembly.start import SavedPositives, Start
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.errors import RunError
from sslkit.files import read_regular_file, to_json, write_atomic
from sslkit.recipe.load import load_recipe
from sslkit.recipe.recipe import Recipe
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import CLASS_COUNT_FILE, Run
from sslkit.training.checkpoint.changes import Change, refuse_changes, refuse_end_before
from sslkit.training.checkpoint.checkpoint_files import Checkpoint, load_checkpoint, newest_valid
from sslkit.training.continuation import keep_classifier, parent_record, start_after
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
    """Train a recipe in a new run folder.

    Args:
        recipe: a checked recipe.
        runs: the folder of all runs.
        reporter: receives progress events.
        parent: a finished run whose backbone and heads initialise the new run; optimizer and schedule start anew.

    Returns:
        The finished or interrupted run. In a requeued SLURM job, it is the run that the job started before it was
        requeued.

    Raises:
        SslkitError: the data or the components are invalid, the parent's weights do not fit the recipe, or the recipe
            needs a parent and there is none.
    """
    return launch(_train, keep_classifier(recipe, parent), reporter or Reporter(), runs, parent)


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
    hardware, assembly, processes = prepare(recipe, reporter, start=start_after(parent))
    record = provenance(assembly, hardware) if processes.is_main else {}
    if parent is not None:
        record["continued_from"] = parent_record(parent)
    name = recipe.run_name
    run = processes.broadcast(Run.create(runs, name) if processes.is_main else None)
    assert run is not None
    with run.locked() if processes.is_main else nullcontext():
        if processes.is_main:
            with explain_file_errors(run, 0):
                write_atomic(run.recipe, recipe.to_toml())
                write_atomic(run.provenance, to_json(record))
                _copy_class_count(recipe, run)
                run.write_status("running", 0, assembly.context.total_steps, 0, assembly.context.epochs)
        reporter.note(f"run folder: {run.path}")
        with deterministic_algorithms(recipe.run.deterministic, reporter):
            return fit(run, assembly, hardware, processes, reporter, checkpoint=None)


def _copy_class_count(recipe: Recipe, run: Run) -> None:
    """Copy ``class_count.json``, which ``sslkit init`` wrote next to the recipe, into the run folder for the report."""
    with suppress(OSError):
        write_atomic(run.class_count, read_regular_file(Path(recipe.document.source).parent / CLASS_COUNT_FILE))


def resume(run: Run, reporter: Reporter | None = None, allow: Collection[Change] = ()) -> Run:
    """Resume a run from its newest valid checkpoint. The weights become bit-identical to those of an uninterrupted run.

    Args:
        run: the run.
        reporter: receives progress events.
        allow: kinds of changes since the checkpoint that are accepted; results may then differ.

    Raises:
        RunError: the run is finished, is still running, has no valid checkpoint, or has trained more epochs than its
            recipe now sets. Or the recipe, the data, the precision or the number of processes has changed, and
            ``allow`` does not name the change.
    """
    _check_unfinished(run)
    return launch(_resume, load_recipe(run.recipe), reporter or Reporter(), run, allow)


def _check_unfinished(run: Run) -> None:
    if run.status.state == "finished" and run.has_weights:
        raise RunError(f"{run.name} is finished: there is nothing to resume")


def _resume(recipe: Recipe, reporter: Reporter, run: Run, allow: Collection[Change]) -> Run:
    processes = connect_processes(recipe)
    # Lock the run only after all processes are connected: each of them chooses among the unlocked runs.
    chosen = processes.broadcast(run.name)
    if chosen != run.name:
        raise RunError(f"processes would resume different runs, {chosen} and {run.name}: name the run to resume")
    with run.locked() if processes.is_main else nullcontext():
        _check_unfinished(run)
        check_installed(recipe)
        newest = _newest_valid_checkpoint(run, reporter).path if processes.is_main else None
        checkpoint = processes.broadcast(newest)
        assert checkpoint is not None
        content = load_checkpoint(checkpoint)
        saved = Position(content["global_step"], **content["position"])
        hardware, assembly, _ = prepare(recipe, reporter, processes, _resume_start(run, saved, content))
        record = processes.broadcast(provenance(assembly, hardware) if processes.is_main else {})
        allowed, notes = refuse_changes(run, content, assembly, record, allow)
        refuse_end_before(saved, run, recipe)
        del content  # Lightning reads the checkpoint again: do not hold two copies during training
        for change in notes:
            reporter.note(f"warning: {change}: results may differ slightly")
        if any(change.startswith("data:") for change in allowed):
            reporter.note(
                "warning: the data have changed: images that the run was trained on may be validation or test images "
                "now, so that results on them are too good"
            )
        if assembly.length_changed:
            reporter.note(_describe_move(saved, assembly.position))
        if processes.is_main:
            with explain_file_errors(run, saved.taken):
                if allowed or notes:
                    record_resumed(run, record, saved, assembly.position, allowed + notes)
                run.mark_latest()
        reporter.note(f"run folder: {run.path}")
        with deterministic_algorithms(recipe.run.deterministic, reporter):
            return fit(run, assembly, hardware, processes, reporter, checkpoint)


def _newest_valid_checkpoint(run: Run, reporter: Reporter) -> Checkpoint:
    """Return the newest valid checkpoint, and report damaged checkpoints and steps that will be repeated.

    Raises:
        RunError: the run has no valid checkpoint.
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


def _resume_start(run: Run, saved: Position, content: Mapping[str, Any]) -> Start:
    """Return the ``Start`` of a resumed run from the ``content`` of its checkpoint at position ``saved``."""
    prefix, state = "method.backbone.", content["state_dict"]
    parent = read_provenance(run).get("continued_from", {"steps": 0, "epochs": 0})
    return Start(
        "everything",
        steps_before=parent["steps"],
        epochs_before=parent["epochs"],
        position=saved,
        backbone={name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)},
        preprocessing=Preprocessing(**content["preprocessing"]),
        positives=SavedPositives(**content["positives"]),
    )


def _describe_move(saved: Position, now: Position) -> str:
    return (
        f"the training's length has changed: it continues after {now.epoch:.2f} of {now.epochs} epochs, at step "
        f"{now.taken} of {now.steps} with {now.steps_per_epoch} steps per epoch (before: {saved.epoch:.2f} of "
        f"{saved.epochs} epochs, step {saved.taken} of {saved.steps} with {saved.steps_per_epoch} steps per epoch)"
    )
