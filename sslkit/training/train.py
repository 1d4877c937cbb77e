"""Trains a recipe into a run folder, and goes on with a run that was stopped."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path

from torch import nn

from sslkit.assembly.assemble import Assembly
from sslkit.errors import RunError
from sslkit.files import to_json, write_atomic
from sslkit.recipe.check import load_recipe
from sslkit.recipe.model import Recipe
from sslkit.runs.records import backbone_facts, epochs_before, read_provenance
from sslkit.runs.run import Run
from sslkit.runs.weights import load_weights
from sslkit.training.checkpoint.changes import Change, refuse_changes
from sslkit.training.checkpoint.files import Checkpoint, load_checkpoint, newest_valid
from sslkit.training.determinism import deterministic
from sslkit.training.distributed import slurm
from sslkit.training.distributed.launch import spread
from sslkit.training.events import Reporter
from sslkit.training.file_errors import writing
from sslkit.training.fit import fit
from sslkit.training.monitor.loggers import refuse_missing
from sslkit.training.provenance import provenance, record_resumed
from sslkit.training.setup import join, prepare


def train(recipe: Recipe, runs: Path, reporter: Reporter | None = None, parent: Run | None = None) -> Run:
    """Train a recipe from the beginning.

    Args:
        recipe: a checked recipe.
        runs: the folder of all runs.
        reporter: who is told how it goes.
        parent: a finished run whose backbone and heads this one begins with; optimizer and schedule begin anew.

    Returns:
        The run; its status tells whether it finished or was interrupted.  In a SLURM job that was requeued, the run
        that it began before.

    Raises:
        SslkitError: the data or the components cannot be used, or the parent's weights do not fit the recipe.
    """
    return spread(_train, recipe, reporter or Reporter(), runs, parent)


def _train(recipe: Recipe, reporter: Reporter, runs: Path, parent: Run | None) -> Run:
    for note in recipe.document.notes:
        reporter.note(note)
    before = slurm.begun(runs, recipe.to_toml())
    if before is not None:
        finished = before.status.state == "finished"
        if finished or newest_valid(before.checkpoints)[0] is not None:
            reporter.note(f"this job was requeued: it goes on with {before.name}")
            return before if finished else resume(before, reporter)
        reporter.note(f"this job was requeued: {before.name} has no checkpoint to go on from, so it begins anew")
    refuse_missing(recipe)
    steps_before = _steps_of(parent) if parent is not None else 0
    hardware, assembly, processes = prepare(
        recipe, reporter, steps_before=steps_before, restoring="nothing" if parent is None else "network"
    )
    record = provenance(assembly, hardware) if processes.main else {}
    if parent is not None:
        load_weights(assembly.method.backbone, parent.backbone)
        load_weights(nn.ModuleList(assembly.method.heads.values()), parent.heads)
        assembly.method.on_weights_loaded()
        epochs = epochs_before(parent) + backbone_facts(parent.backbone)["context"]["epochs"]
        record["continued_from"] = {"run": parent.name, "steps": steps_before, "epochs": epochs}
        reporter.note(f"continues from {parent.name}: {_carried_over(assembly)}")
    name = recipe.run.name or Path(recipe.document.source).stem
    run = processes.share(Run.create(runs, name) if processes.main else None)
    assert run is not None
    with run.held() if processes.main else nullcontext():
        if processes.main:
            with writing(run, 0):
                write_atomic(run.recipe, recipe.to_toml())
                write_atomic(run.provenance, to_json(record))
                run.write_status("running", 0, assembly.context.total_steps, 0, assembly.context.epochs)
        reporter.note(f"run folder: {run.path}")
        with deterministic(recipe.run.deterministic, reporter):
            return fit(run, assembly, hardware, processes, reporter, checkpoint=None)


def resume(run: Run, reporter: Reporter | None = None, allow: Collection[Change] = ()) -> Run:
    """Go on with a run from its last checkpoint, as if it had never stopped.

    Args:
        run: the run.
        reporter: who is told how it goes.
        allow: what may have changed since.

    Raises:
        RunError: it is finished, still running, or stopped before its first checkpoint; recipe, data, precision or the
            number of processes have changed.
    """
    _refuse_finished(run)
    return spread(_resume, load_recipe(run.recipe), reporter or Reporter(), run, allow)


def _refuse_finished(run: Run) -> None:
    if run.status.state == "finished" and run.complete:
        raise RunError(f"{run.name} is finished: there is nothing to resume")


def _resume(recipe: Recipe, reporter: Reporter, run: Run, allow: Collection[Change]) -> Run:
    processes = join(recipe)
    # Held only now: before all have met, some may still be choosing among the runs that nobody holds.
    chosen = processes.share(run.name)
    if chosen != run.name:
        raise RunError(f"the processes would go on with different runs, {chosen} and {run.name}: name the one you mean")
    with run.held() if processes.main else nullcontext():
        _refuse_finished(run)
        refuse_missing(recipe)
        found = _whole_checkpoint(run, reporter).path if processes.main else None
        hardware, assembly, _ = prepare(recipe, reporter, processes, _steps_continued(run), "everything")
        checkpoint = processes.share(found)
        assert checkpoint is not None
        now = processes.share(provenance(assembly, hardware) if processes.main else {})
        content = load_checkpoint(checkpoint)
        assembly.loader.start = step = content["global_step"]
        changes = refuse_changes(run, content, assembly, now, allow)
        del content  # Lightning reads it again, and two would stay in memory until the end
        for line in changes.told:
            reporter.note(f"warning: {line}: its bits may differ")
        if processes.main:
            with writing(run, step):
                if changes.allowed or changes.told:
                    record_resumed(run, now, step, (*changes.allowed, *changes.told))
                run.mark_latest()
        reporter.note(f"run folder: {run.path}")
        with deterministic(recipe.run.deterministic, reporter):
            return fit(run, assembly, hardware, processes, reporter, checkpoint)


def _whole_checkpoint(run: Run, reporter: Reporter) -> Checkpoint:
    """The newest checkpoint that is not damaged; says which are, and what has to be done again.

    Raises:
        RunError: there is none.
    """
    found, damaged = newest_valid(run.checkpoints)
    again = f"train it again with `sslkit train {run.recipe}`"
    if found is None and damaged:
        named = "; ".join(f"{name}: {why}" for name, why in damaged.items())
        raise RunError(f"{run.name} cannot go on, all its checkpoints are damaged ({named}): {again}")
    if found is None:
        raise RunError(f"{run.name} stopped before its first checkpoint, or they were removed: {again}")
    for name, why in damaged.items():
        reporter.note(f"warning: the checkpoint {name} is passed over: {why}")
    reached = run.status.step
    if reached > found.step:
        reporter.note(f"goes on from step {found.step}: what was done since, up to step {reached}, is done again")
    return found


def _steps_of(parent: Run) -> int:
    """Optimizer steps that a finished run's weights were trained for, those of the runs that it continued included."""
    facts = backbone_facts(parent.backbone)
    return facts["step"] + facts["context"].get("steps_before", 0)


def _steps_continued(run: Run) -> int:
    before = read_provenance(run).get("continued_from")
    return before["steps"] if before is not None else 0


def _carried_over(assembly: Assembly) -> str:
    anew = ["optimizer", "schedule"]
    anew += [f"loss {name!r}" for name, loss in assembly.method.losses.items() if loss.state_dict()]
    return f"backbone and heads are taken over, {', '.join(anew[:-1])} and {anew[-1]} begin anew"
