"""What happens after every step besides training: history, monitors, checkpoints, progress, stopping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from sslkit.errors import TrainingError
from sslkit.runs.metrics_file import History
from sslkit.runs.run import Run, State
from sslkit.training.checkpoint.files import CheckpointInterval, CheckpointSaver, newest_valid
from sslkit.training.checkpoint.random_state import random_state, restore_random_state
from sslkit.training.distributed.processes import Processes
from sslkit.training.distributed.signals import StopSignal
from sslkit.training.events import Progress, Reporter
from sslkit.training.guard import finite
from sslkit.training.learner import Learner
from sslkit.training.monitor.classifier_selection import ClassifierSelection
from sslkit.training.monitor.divergence import divergence, read
from sslkit.training.monitor.epoch_metrics import EpochMetrics
from sslkit.training.monitor.loggers import Loggers
from sslkit.training.monitor.loss_accumulator import LossAccumulator
from sslkit.training.monitor.throughput import Throughput
from sslkit.training.monitor.validation import ValidationMonitor


class Bookkeeping(pl.Callback):
    """Keeps a run's folder true to its training.

    Losses stay on the device and are read once per log interval.  What is pending goes into the checkpoint, so that
    a resumed run writes the same rows as one that was never interrupted.

    Args:
        run: the run.
        learner: what is trained.
        processes: those that train together; only the main one writes and measures.
        monitor: what is measured at the end of epochs.
        reporter: who is told.
        interruption: whether somebody asked to stop.
    """

    def __init__(
        self,
        run: Run,
        learner: Learner,
        processes: Processes,
        monitor: ValidationMonitor,
        reporter: Reporter,
        interruption: StopSignal,
    ) -> None:
        self.run = run
        self.processes = processes
        self.main = processes.main
        self.reporter = reporter
        self.interruption = interruption
        recipe, self.context = learner.assembly.recipe, learner.assembly.context
        self.compiled = learner.compiled
        self.log_every = recipe.monitor.log_every_steps
        self.stops_at_collapse = recipe.monitor.collapse == "stop"
        self.interval = CheckpointInterval(recipe.train.checkpoint_every, self.context.steps_per_epoch)
        self.history = History(run.metrics, lambda text: reporter.note(f"warning: {text}"))
        self.loggers = Loggers(run, recipe, reporter)
        self.saver = CheckpointSaver(run.checkpoints, recipe.train.keep_checkpoints)
        self.tally = LossAccumulator()
        self.choice = ClassifierSelection(learner)
        self.inspection = EpochMetrics(learner, monitor, self.choice)
        self.speed = Throughput(learner.assembly.loader, self.context.batch_size)
        self.lr = 0.0
        """The rate of the last step that is logged: when its figures are written, the schedule has gone on."""
        self.last_epoch_loss = float("inf")
        self.best_loss = float("inf")
        """The lowest loss of an epoch that ended with, or last before, a checkpoint."""
        self.best_step = 0
        """The step of that checkpoint; 0: there is none yet."""
        self.restored: dict[str, Any] | None = None
        self.begun = False
        """Whether everything is restored that there was to restore."""

    def state_dict(self) -> dict[str, Any]:
        return {
            "names": self.tally.names,
            "last_classifier_loss": {name: loss.cpu() for name, loss in self.choice.losses.items()},
            "last_epoch_loss": self.last_epoch_loss,
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "watch": self.inspection.watch.state_dict(),
            "history_size": self.history.flush() if self.main else 0,
            "processes": self.processes.collect(self.tally.state_dict() | {"random": random_state()}),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # There may now be more processes than before, where the user allowed that.
        own = state_dict["processes"][self.context.world.rank % len(state_dict["processes"])]
        self.tally.load_state_dict(own)
        self.tally.names = list(state_dict["names"])
        self.choice.losses = dict(state_dict["last_classifier_loss"])
        self.last_epoch_loss = state_dict["last_epoch_loss"]
        self.best_loss = state_dict["best_loss"]
        self.best_step = state_dict["best_step"]
        self.inspection.watch.load_state_dict(state_dict["watch"])
        self.restored = {"history_size": state_dict["history_size"], "random": own["random"]}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begun = True
        self.interruption.listen()  # before the first measurement, which may take minutes
        self.tally.to(pl_module.device)
        step = int(trainer.global_step)
        if self.main:
            self._open_history(step)
        self.speed.restart(step)
        self.record("running", step)
        self.reporter.begin(self.progress(step))
        if self.restored is not None:
            restore_random_state(self.restored["random"])
        self._tell_compiling()
        # Lightning's own meeting before the first step has less patience.
        self.processes.collect(None)

    def _open_history(self, step: int) -> None:
        if self.restored is None:
            self.history.begin()
            self._measure_start()
            return
        remark = self.history.go_on(self.restored["history_size"], step)
        if remark:
            self.reporter.note(f"warning: {remark}")
        self.saver.link(step, self.best_step)

    def _measure_start(self) -> None:
        figures = self.inspection.start()
        self._write(0, _as_monitored(figures))
        if "knn" in figures:
            self.reporter.note(f"before the first step: knn {figures['knn']:.3f}")

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        step = int(trainer.global_step) + 1
        if step % self.log_every == 0 or step == self.context.total_steps:  # it may be a tensor on the device
            self.lr = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        assert isinstance(pl_module, Learner)
        step = int(trainer.global_step)
        self._tell_compiling()
        self._collect(pl_module)
        finished, ended = step == self.context.total_steps, step % self.context.steps_per_epoch == 0
        logged = finished or step % self.log_every == 0
        if logged or ended:
            self._refuse_divergence(pl_module, step)
        if logged:
            self._log(trainer, step)
        if ended:
            self._end_epoch(step)
        self.reporter.step(self.progress(step))
        # Clocks and signals are each process's own, and all must save after the same step.
        stop, due = self.processes.any(bool(self.interruption.requested) and not finished, self.interval.due(step))
        if due or finished or stop:
            self._refuse_divergence(pl_module, step, saves=True)
            if self.last_epoch_loss < self.best_loss:
                self.best_loss, self.best_step = self.last_epoch_loss, step
            self.saver.save(trainer, step, self.best_step)
            self.interval.saved()
            if self.main:
                self.loggers.send()
            self.record("running", step)
        if stop:
            trainer.should_stop = True

    def progress(self, step: int) -> Progress:
        """How far training is."""
        context, speed = self.context, (self.speed.images_per_second, self.speed.waiting)
        return Progress(step, context.total_steps, step // context.steps_per_epoch, context.epochs, *speed)

    def _tell_compiling(self) -> None:
        if self.compiled is not None and (cost := self.compiled.stepped()):
            self.reporter.note(cost)

    def _collect(self, learner: Learner) -> None:
        output = learner.output
        names = ["loss", *output.terms]
        if names != self.tally.names:
            # A loss may log other terms from some step on; what it logged before must not be lost.
            self._write_pending(int(learner.global_step) - 1)
            self.tally.names = names
            # A sum of other losses is not to be compared with what it was before.
            self.last_epoch_loss = self.best_loss = float("inf")
            self.choice.check()
        self.tally.add(output)

    def _write_pending(self, step: int) -> dict[str, float]:
        if not self.tally.pending:
            return {}
        figures = dict(zip(self.tally.names, self._mean(self.tally.take_mean()).tolist(), strict=True))
        self._write(step, figures)
        return figures

    def _write(self, step: int, figures: Mapping[str, float]) -> None:
        if self.main:
            self.history.append(step, step / self.context.steps_per_epoch, figures)

    def _mean(self, value: Tensor) -> Tensor:
        """The mean over all processes."""
        return self.context.world.sum(value) / self.context.world.size

    def _refuse_divergence(self, learner: Learner, step: int, *, saves: bool = False) -> None:
        """Stop where a step since the last look was not finite; before saving, look at the weights themselves too."""
        assert learner.guard is not None
        failed = int(learner.guard.failed)
        if not failed and saves and not finite(learner.method.parameters(), host_looks=True):
            failed = step
        if failed:
            kept, _ = newest_valid(self.run.checkpoints)
            figures = read([self._mean(row) for row in self.tally.pending], step, failed)
            saved = kept.step if kept else 0
            raise divergence(self.run, learner.assembly, failed, saved, self.tally.names, figures)

    def _log(self, trainer: pl.Trainer, step: int) -> None:
        figures = self._write_pending(step)
        figures["lr"] = self.lr
        self.speed.read(step)
        speed = {"time/images_per_second": self.speed.images_per_second, "time/waiting": self.speed.waiting}
        self._write(step, {"lr": figures["lr"], **speed})
        self.reporter.figures(self.progress(step), figures)

    def _end_epoch(self, step: int) -> None:
        """Measure what is due."""
        self.speed.read(step)
        total, by_classifier = self.tally.end_epoch()
        loss = float(self._mean(total)) / self.context.steps_per_epoch
        self.choice.losses = {head: self._mean(losses) for head, losses in by_classifier.items()}
        measured, signs = {}, []
        if self.main:
            measured = self.inspection.end_epoch(step // self.context.steps_per_epoch)
            signs = self.inspection.judge(measured, step)
        figures = {"epoch_loss": loss, **_as_monitored(measured)}
        self._write(step, figures)
        self.reporter.epoch(self.progress(step), figures)
        self._tell_collapse(signs, step)
        self.speed.restart(step)
        self.last_epoch_loss = loss

    def _tell_collapse(self, signs: list[str], step: int) -> None:
        """Tell signs; stop, where the recipe wants that."""
        # Only the main process has measured, and all must stop together.
        signs = self.processes.share(signs)
        for sign in signs:
            self.reporter.note(f"warning: collapse at step {step}: {sign}")
        if signs and self.stops_at_collapse:
            raise TrainingError(f'training collapsed at step {step}: {signs[0]}; monitor.collapse = "stop" ends it')

    def record(self, state: State, step: int) -> None:
        """Write the run's status."""
        if not self.main:
            return
        now = self.progress(step)
        self.run.write_status(state, now.step, now.steps, now.epoch, now.epochs)


def _as_monitored(figures: Mapping[str, float]) -> dict[str, float]:
    """As the history names them."""
    return {f"monitor/{name}": value for name, value in figures.items()}
