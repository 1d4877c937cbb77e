"""Gives what was prepared to Lightning, and leaves a run folder that says how that ended."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from sslkit.assembly.assemble import Assembly
from sslkit.device.hardware import Hardware
from sslkit.device.out_of_memory import is_out_of_memory, out_of_memory_error
from sslkit.errors import RunError, TrainingError
from sslkit.files import to_json, write_atomic
from sslkit.runs.run import Run
from sslkit.runs.weights import save_weights
from sslkit.training import file_errors as failures
from sslkit.training.bookkeeping import Bookkeeping
from sslkit.training.checkpoint.files import AtomicCheckpointIO
from sslkit.training.distributed import slurm
from sslkit.training.distributed.processes import Processes
from sslkit.training.distributed.signals import StopSignal
from sslkit.training.events import Reporter
from sslkit.training.learner import Learner
from sslkit.training.lightning_logging import quiet
from sslkit.training.monitor.classifier_selection import ClassifierSelection
from sslkit.training.monitor.validation import ValidationMonitor

STEP = ("train", "batch_size")
"""What decides most on the memory that a step needs."""

MISFITS = (LookupError, ValueError, TypeError, AttributeError)
"""How optimizers and schedules refuse a state that is not theirs."""


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
    interruption = StopSignal()
    books = Bookkeeping(run, learner, processes, ValidationMonitor(assembly), reporter, interruption)
    trainer = _trainer(assembly, hardware, processes, books, run)
    try:
        _tell_foreign(trainer, books, run, reporter, allowed=assembly.recipe.run.foreign_callbacks)
        with interruption.restored(), quiet():
            trainer.fit(learner, assembly.loader, ckpt_path=checkpoint, weights_only=True)
        step = int(trainer.global_step)
        finished = step >= assembly.context.total_steps
        if finished and processes.main:
            _save_network(run, assembly, books.choice)
        books.record("finished" if finished else "interrupted", step)
    except BaseException as error:
        # Lightning turns a KeyboardInterrupt into sys.exit, and a SIGTERM before training listens into an exit, too.
        causes = (error, error.__context__)
        stopped = any(isinstance(cause, (KeyboardInterrupt, SIGTERMException)) for cause in causes)
        # Until it has begun, Lightning does not know the step that it goes on from.
        step = int(trainer.global_step) if books.begun else run.status.step
        reporter.end(books.progress(step))
        books.loggers.close(finished=False)
        with suppress(OSError):
            books.record("interrupted" if stopped else "failed", step)
        if stopped:
            raise KeyboardInterrupt from error
        if is_out_of_memory(error):
            raise out_of_memory_error(assembly.recipe.document, STEP, f"step {step + 1}", error) from error
        if isinstance(error, OSError):
            raise TrainingError(failures.explain(run, step, error)) from error
        if checkpoint is not None and not assembly.loader.begun and isinstance(error, MISFITS):
            raise RunError(
                f"{run.name} cannot go on from {checkpoint.name}, what it holds does not fit ({error!r}): "
                f"move that file away to go on from the one before, or train it again with `sslkit train {run.recipe}`"
            ) from error
        raise
    reporter.end(books.progress(step))
    if finished and processes.main:
        books.loggers.send()  # what could not be sent before
    books.loggers.close(finished=finished)
    # None returns before the run is complete.  A signal may have reached another process first.
    asked = processes.collect(interruption.requested)
    if slurm.SIGNAL.name in asked and not finished and processes.main:
        reporter.note(slurm.requeue())
    return run


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
        write_atomic(run.provenance, to_json(json.loads(run.provenance.read_text()) | {"foreign_callbacks": names}))
    if not names:
        return
    added = f"another installed package adds {', '.join(names)} to every Lightning training"
    if not allowed:
        raise TrainingError(f"{added}; uninstall it, or set run.foreign_callbacks = true")
    reporter.note(f"warning: {added}; run.foreign_callbacks = false refuses that")


def _save_network(run: Run, assembly: Assembly, choice: ClassifierSelection) -> None:
    """Write the trained weights with what is needed to use them without the rest of the run."""
    recipe, views, method = assembly.recipe, assembly.views, assembly.method
    facts = {name: value for name, value in asdict(assembly.context).items() if name not in ("world", "restoring")}
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
    readers = (method.losses[name] for name, head in method.head_of.items() if head == choice.head)
    chosen = {
        "head": choice.head,
        "classifier": choice.place,
        "classifiers": list(choice.classifiers),
        "logit_temperature": next((loss.logit_temperature for loss in readers if "logits" in loss.needs), None),
    }
    save_weights(nn.ModuleList(method.heads.values()), run.heads, common | chosen)
