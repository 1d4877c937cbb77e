"""Run the Lightning Trainer and record the outcome in the run folder."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from sslkit.assembly.assemble import Assembly
from sslkit.device.hardware import Hardware
from sslkit.device.out_of_memory import is_out_of_memory, out_of_memory_error
from sslkit.errors import RunError, TrainingError
from sslkit.features.extraction import extract_features
from sslkit.features.typical_images import sample_indices, save_typical_images
from sslkit.files import to_json, write_atomic
from sslkit.runs.run import Run
from sslkit.runs.status import State
from sslkit.runs.weights import save_weights
from sslkit.training.callback import RunCallback
from sslkit.training.checkpoint.checkpoint_files import AtomicCheckpointIO
from sslkit.training.distributed import slurm
from sslkit.training.distributed.processes import Processes
from sslkit.training.distributed.signals import StopSignal, restored_handlers, stop_signals
from sslkit.training.distributed.strategy import ProcessStrategy
from sslkit.training.events import Reporter, TrainingEnded
from sslkit.training.file_errors import file_error_message
from sslkit.training.learner import Learner
from sslkit.training.lightning_logging import quiet_lightning
from sslkit.training.monitor.classifier_selection import ClassifierSelection
from sslkit.training.monitor.validation import ValidationMonitor

MEMORY_OPTION = ("train", "batch_size")
"""Key path of the option that an out-of-memory error in a step refers to."""

STATE_MISMATCH = (LookupError, ValueError, TypeError, AttributeError)
"""Exceptions that PyTorch raises when a saved optimizer or scheduler state does not fit."""


def fit(
    run: Run,
    assembly: Assembly,
    hardware: Hardware,
    processes: Processes,
    reporter: Reporter,
    checkpoint: Path | None,
) -> Run:
    """Train an assembled recipe, from ``checkpoint`` if given; write results into the run folder; return the run."""
    learner = Learner(assembly, hardware)
    stop_signal = StopSignal()
    callback = RunCallback(run, learner, processes, ValidationMonitor(assembly), reporter, stop_signal)
    status, loggers = callback.status, callback.writer.loggers
    trainer = _trainer(assembly, hardware, processes, callback, run)
    try:
        _record_third_party_callbacks(trainer, callback, run, reporter)
        with restored_handlers((*stop_signals(), slurm.TIMEOUT_SIGNAL)), quiet_lightning():
            trainer.fit(learner, assembly.loader, ckpt_path=checkpoint, weights_only=True)
        step = int(trainer.global_step)
        finished = step >= assembly.position.steps
        if finished and processes.is_main:
            with learner.compiled.disabled() if learner.compiled is not None else nullcontext():
                _save_network(run, assembly, callback.selection)
        status.write("finished" if finished else "interrupted", step)
    except BaseException as error:
        # Lightning calls sys.exit on KeyboardInterrupt, and on SIGTERM before training starts.
        causes = (error, error.__context__)
        stopped = any(isinstance(cause, (KeyboardInterrupt, SIGTERMException)) for cause in causes)
        # Before training starts, Lightning does not know the checkpoint's step.
        step = int(trainer.global_step) if callback.started else run.status.step
        reporter.on_event(TrainingEnded(status.progress(step)))
        loggers.close(finished=False)
        with suppress(OSError):
            state: State = "interrupted" if stopped else "failed"
            if callback.started:
                status.write(state, step)
            else:
                status.write_state(state)
        if stopped:
            raise KeyboardInterrupt from error
        if is_out_of_memory(error):
            raise out_of_memory_error(assembly.recipe.document, MEMORY_OPTION, f"step {step + 1}", error) from error
        if isinstance(error, OSError):
            raise TrainingError(file_error_message(run, step, error)) from error
        if checkpoint is not None and not assembly.loader.started and isinstance(error, STATE_MISMATCH):
            raise RunError(
                f"{run.name} cannot resume from {checkpoint.name}: its content does not fit ({error!r}); move that "
                f"file away to resume from the one before, or train again with `sslkit train {run.recipe}`"
            ) from error
        raise
    reporter.on_event(TrainingEnded(status.progress(step)))
    if finished and processes.is_main:
        loggers.send()  # rows that a logger could not receive before
    loggers.close(finished=finished)
    # Wait until the run is complete in all processes. The stop signal may have reached only one of them.
    signal_names = processes.gather(stop_signal.requested)
    if slurm.TIMEOUT_SIGNAL.name in signal_names and not finished and processes.is_main:
        reporter.note(slurm.requeue())
    return run


def _trainer(
    assembly: Assembly, hardware: Hardware, processes: Processes, callback: RunCallback, run: Run
) -> pl.Trainer:
    with quiet_lightning():
        return pl.Trainer(
            accelerator=hardware.device,
            devices=processes.devices,
            num_nodes=assembly.recipe.train.nodes,
            strategy=ProcessStrategy() if processes.world.size > 1 else "auto",
            precision="32-true",  # the step chooses the precision of the network
            deterministic="warn" if assembly.recipe.run.deterministic else None,
            max_epochs=-1,
            max_steps=assembly.position.steps,
            callbacks=[callback],
            plugins=[AtomicCheckpointIO()],
            default_root_dir=run.path,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )


def _record_third_party_callbacks(trainer: pl.Trainer, own: RunCallback, run: Run, reporter: Reporter) -> None:
    """Record and report callbacks that other packages add to every Lightning Trainer, as they may change results."""
    callbacks: list[pl.Callback] = [callback for callback in getattr(trainer, "callbacks", []) if callback is not own]
    names = [f"{type(callback).__module__}.{type(callback).__qualname__}" for callback in callbacks]
    if own.processes.is_main:
        record = json.loads(run.provenance.read_text()) | {"third_party_callbacks": names}
        write_atomic(run.provenance, to_json(record))
    if names:
        reporter.note(f"warning: another installed package adds {', '.join(names)} to every Lightning training")


def _save_network(run: Run, assembly: Assembly, selection: ClassifierSelection) -> None:
    """Save the trained weights, with all metadata needed to use them outside the run folder."""
    recipe, views, method = assembly.recipe, assembly.views, assembly.method
    of_this_process = ("world", "restoring", "step_offset")
    context = {name: value for name, value in asdict(assembly.context).items() if name not in of_this_process}
    common = {
        "sslkit": 1,
        "context": context,
        "run": run.name,
        "image_size": views.size,
        "channels": assembly.context.channels,
        "mean": list(views.mean),
        "std": list(views.std),
        "interpolation": views.interpolation,
        "step": assembly.position.steps,
    }
    _save_typical_images(run, assembly)
    backbone = {"backbone": recipe.resolved()["backbone"], "feature_dim": method.backbone.feature_dim}
    save_weights(method.backbone, run.backbone, common | backbone)
    losses = [method.losses[name] for name, head in method.loss_heads.items() if head == selection.head]
    temperatures = [loss.logit_temperature for loss in losses if "logits" in loss.needs]
    temperatures += [method.logit_temperature] if "logits" in method.needs else []
    heads = {
        "head": selection.head,
        "classifier": selection.index,
        "classifiers": list(selection.classifiers),
        "logit_temperature": next(iter(temperatures), None),
    }
    save_weights(nn.ModuleList(method.heads.values()), run.heads, common | heads)


def _save_typical_images(run: Run, assembly: Assembly) -> None:
    """Save the features of sampled training images, for the outlier scores in predictions and reports.

    Computing these features takes at most about a sixth of an epoch, without gradients and with one view of each image.
    """
    images, indices = assembly.images, sample_indices(len(assembly.images))
    if assembly.frozen is not None:
        features = assembly.frozen.features(images)[indices]
    else:
        features = extract_features(assembly.method.backbone, images, assembly.views.preprocessing, indices=indices)
    save_typical_images(features, run.typical_images)
