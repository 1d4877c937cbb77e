"""Trains a recipe into a run folder, and goes on with a run that was stopped."""

from __future__ import annotations

import errno
import json
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path

import pytorch_lightning as pl
from torch import nn

from sslkit.assembly import Assembly, assemble
from sslkit.errors import RunError, TrainingError
from sslkit.files import to_json, write_aside
from sslkit.hardware import Hardware, choose, choose_device
from sslkit.memory import ran_out, too_large
from sslkit.recipe.check import load_recipe
from sslkit.recipe.model import Recipe
from sslkit.records import backbone_facts, epochs_before, read_provenance
from sslkit.runs import Run
from sslkit.training import slurm
from sslkit.training.bookkeeping import Bookkeeping
from sslkit.training.changes import Change, refuse_changes
from sslkit.training.checkpoints import AtomicCheckpointIO, Checkpoint, load_checkpoint, newest_whole
from sslkit.training.determinism import deterministic
from sslkit.training.interruption import Interruption
from sslkit.training.launch import spread
from sslkit.training.learner import Learner
from sslkit.training.loggers import refuse_missing
from sslkit.training.monitor import Monitor
from sslkit.training.processes import Processes, meet
from sslkit.training.provenance import provenance, record_resumed
from sslkit.training.quiet import quiet
from sslkit.training.reporter import Reporter
from sslkit.weights import load_weights, save_weights

WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors that only writing meets."""

STEP = ("train", "batch_size")
"""What decides most on the memory that a step needs."""

MISFITS = (LookupError, ValueError, TypeError, AttributeError)
"""How optimizers and schedules refuse a state that is not theirs."""


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
        if finished or newest_whole(before.checkpoints)[0] is not None:
            reporter.note(f"this job was requeued: it goes on with {before.name}")
            return before if finished else resume(before, reporter)
        reporter.note(f"this job was requeued: {before.name} has no checkpoint to go on from, so it begins anew")
    refuse_missing(recipe)
    steps_before = _steps_of(parent) if parent is not None else 0
    hardware, assembly, processes = prepare(recipe, reporter, steps_before=steps_before)
    record = provenance(assembly, hardware) if processes.main else {}
    if parent is not None:
        load_weights(assembly.method.backbone, parent.backbone)
        load_weights(nn.ModuleList(assembly.method.heads.values()), parent.heads)
        assembly.method.weights_replaced()
        record["continued_from"] = {"run": parent.name, "steps": steps_before}
        with suppress(RunError):  # a parent whose own record is damaged can still be continued
            epochs = epochs_before(parent) + backbone_facts(parent.backbone)["context"]["epochs"]
            record["continued_from"]["epochs"] = epochs
        reporter.note(f"continues from {parent.name}: {_carried_over(assembly)}")
    name = recipe.run.name or Path(recipe.document.source).stem
    run = processes.share(Run.create(runs, name) if processes.main else None)
    assert run is not None
    with run.held() if processes.main else nullcontext():
        if processes.main:
            with _writing(run):
                write_aside(run.recipe, recipe.to_toml())
                write_aside(run.provenance, to_json(record))
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
        RunError: it is finished, still running, or stopped before its first checkpoint; recipe or data have changed.
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
        hardware, assembly, _ = prepare(recipe, reporter, processes, _steps_continued(run))
        checkpoint = processes.share(found)
        assert checkpoint is not None
        now = processes.share(provenance(assembly, hardware) if processes.main else {})
        content = load_checkpoint(checkpoint)
        changes = refuse_changes(run, content, assembly, now, allow)
        for line in changes.told:
            reporter.note(f"warning: {line}: its bits may differ")
        if processes.main:
            with _writing(run):
                if changes.allowed or changes.told:
                    record_resumed(run, now, content["global_step"], (*changes.allowed, *changes.told))
                run.mark_latest()
        reporter.note(f"run folder: {run.path}")
        with deterministic(recipe.run.deterministic, reporter):
            return fit(run, assembly, hardware, processes, reporter, checkpoint)


def _whole_checkpoint(run: Run, reporter: Reporter) -> Checkpoint:
    """The newest checkpoint that is not damaged; says which are, and what has to be done again.

    Raises:
        RunError: there is none.
    """
    found, damaged = newest_whole(run.checkpoints)
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


def join(recipe: Recipe) -> Processes:
    """Meet the other processes of this training."""
    with quiet():
        return meet(recipe.train, choose_device(recipe.train.device))


def prepare(
    recipe: Recipe, reporter: Reporter, processes: Processes | None = None, steps_before: int = 0
) -> tuple[Hardware, Assembly, Processes]:
    """Choose the hardware, meet the other processes where that is still to be done, and build the recipe's parts."""
    processes = processes or join(recipe)
    hardware = choose(recipe.train.device, recipe.train.precision)
    reporter.note(f"device: {hardware.device}, {hardware.precision}: {hardware.reason}")
    if processes.world.size > 1:
        reporter.note(
            f"processes: {processes.world.size}, each {recipe.train.batch_size // processes.world.size} images of a "
            f"batch of {recipe.train.batch_size}"
        )
    with processes.taking_turns(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        assembly = assemble(recipe, hardware.device, processes.world, steps_before)
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            reporter.note(f"warning: {warning.message}")
    for text in assembly.notes:
        reporter.note(text)
    return hardware, assembly, processes


def fit(
    run: Run,
    assembly: Assembly,
    hardware: Hardware,
    processes: Processes,
    reporter: Reporter,
    checkpoint: Path | None,
) -> Run:
    """Train what was prepared into its run folder, from a checkpoint or from the beginning."""
    learner = Learner(assembly, hardware)
    interruption = Interruption()
    books = Bookkeeping(run, learner, processes, Monitor(assembly), reporter, interruption)
    trainer = _trainer(assembly, hardware, processes, books, run)
    if checkpoint is not None:
        assembly.loader.start = load_checkpoint(checkpoint)["global_step"]
    try:
        _tell_foreign(trainer, books, run, reporter, allowed=assembly.recipe.run.foreign_callbacks)
        with interruption.restored(), quiet():
            trainer.fit(learner, assembly.loader, ckpt_path=checkpoint, weights_only=True)
        step = int(trainer.global_step)
        finished = step >= assembly.context.total_steps
        if finished and processes.main:
            _save_network(run, assembly, books)
        books.record("finished" if finished else "interrupted", step)
    except BaseException as error:
        # Lightning turns a KeyboardInterrupt into sys.exit.
        stopped = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
        step = int(trainer.global_step)
        reporter.end(books.progress(step))
        books.loggers.close(finished=False)
        with suppress(OSError):
            books.record("interrupted" if stopped else "failed", step)
        if stopped:
            raise KeyboardInterrupt from error
        if ran_out(error):
            raise too_large(assembly.recipe.document, STEP, f"step {step + 1}", error) from error
        if isinstance(error, OSError):
            raise TrainingError(_explain_failure(run, step, error)) from error
        if checkpoint is not None and not books.begun and isinstance(error, MISFITS):
            raise RunError(
                f"{run.name} cannot go on from {checkpoint.name}, what it holds does not fit ({error!r}): "
                f"remove that file to go on from the one before, or train it again with `sslkit train {run.recipe}`"
            ) from error
        raise
    reporter.end(books.progress(step))
    books.loggers.close(finished=finished)
    processes.collect(None)  # none returns before the run is complete
    if interruption.requested == slurm.SIGNAL.name and not finished and processes.main:
        reporter.note(slurm.requeue())
    return run


@contextmanager
def _writing(run: Run) -> Iterator[None]:
    """What is written before the training begins."""
    try:
        yield
    except OSError as error:
        raise TrainingError(_explain_failure(run, 0, error)) from error


def _explain_failure(run: Run, step: int, error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "see to that"
    wrote = error.errno in WRITING or str(error.filename or "").startswith(str(run.path))
    what = "written" if wrote else "read or written"
    kept, _ = newest_whole(run.checkpoints)
    then = f"then `sslkit resume {run.path}` goes on from step {kept.step}" if kept else "then train it again"
    return (
        f"training stopped after step {step}, a file could not be {what}: {error.strerror or error}{where}; "
        f"{remedy}, {then}"
    )


def _trainer(assembly: Assembly, hardware: Hardware, processes: Processes, books: Bookkeeping, run: Run) -> pl.Trainer:
    with quiet():
        return pl.Trainer(
            accelerator=hardware.device,
            devices=processes.devices,
            num_nodes=assembly.recipe.train.nodes,
            strategy=assembly.recipe.train.strategy if processes.world.size > 1 else "auto",
            precision="bf16-mixed" if hardware.precision == "bfloat16" else "32-true",
            deterministic="warn" if assembly.recipe.run.deterministic else None,
            max_epochs=-1,
            max_steps=assembly.context.total_steps,
            callbacks=[books],
            plugins=[AtomicCheckpointIO()],
            default_root_dir=run.path,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )


def _tell_foreign(trainer: pl.Trainer, books: Bookkeeping, run: Run, reporter: Reporter, *, allowed: bool) -> None:
    """Record the callbacks that other packages added to the Trainer, as Lightning lets them.

    Raises:
        TrainingError: there are some, and the recipe refuses them.
    """
    callbacks: list[pl.Callback] = [item for item in getattr(trainer, "callbacks", []) if item is not books]
    names = [f"{type(item).__module__}.{type(item).__qualname__}" for item in callbacks]
    if books.main:
        write_aside(run.provenance, to_json(json.loads(run.provenance.read_text()) | {"foreign_callbacks": names}))
    if not names:
        return
    added = f"another installed package adds {', '.join(names)} to every Lightning training"
    if not allowed:
        raise TrainingError(f"{added}; uninstall it, or set run.foreign_callbacks = true")
    reporter.note(f"warning: {added}; run.foreign_callbacks = false refuses that")


def _save_network(run: Run, assembly: Assembly, books: Bookkeeping) -> None:
    """Write the trained weights with what is needed to use them without the rest of the run."""
    recipe, views, method = assembly.recipe, assembly.views, assembly.method
    facts = {name: value for name, value in asdict(assembly.context).items() if name != "world"}
    common = {
        "sslkit": 1,
        "context": facts,
        "run": run.name,
        "image_size": views.size,
        "channels": assembly.context.channels,
        "mean": list(views.mean),
        "std": list(views.std),
        "step": assembly.context.total_steps,
    }
    backbone = {"backbone": recipe.resolved()["backbone"], "feature_dim": method.backbone.feature_dim}
    save_weights(method.backbone, run.backbone, common | backbone)
    if books.head:
        readers = (method.losses[name] for name, head in method.head_of.items() if head == books.head)
        chosen = {
            "head": books.head,
            "classifier": books.chosen_classifier(),
            "classifiers": list(books.classifiers),
            "logit_temperature": next((loss.logit_temperature for loss in readers if "logits" in loss.needs), None),
        }
        save_weights(nn.ModuleList(method.heads.values()), run.heads, common | chosen)
