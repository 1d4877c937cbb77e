"""Lightning callback that writes metrics, checkpoints and status, and stops training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from sslkit.contracts.method import MethodOutput
from sslkit.errors import RunError, TrainingError
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import newest_valid
from sslkit.training.checkpoint.policy import CheckpointPolicy
from sslkit.training.checkpoint.random_state import get_random_state, set_random_state
from sslkit.training.distributed.processes import Processes
from sslkit.training.distributed.signals import StopSignal
from sslkit.training.events import EpochEnded, LossesLogged, Reporter, StepEnded, TrainingStarted
from sslkit.training.guard import all_finite
from sslkit.training.learner import Learner
from sslkit.training.monitor.classifier_selection import ClassifierSelection
from sslkit.training.monitor.divergence import divergence_error, losses_of_step
from sslkit.training.monitor.epoch_metrics import EpochMetrics
from sslkit.training.monitor.metrics_writer import MetricsWriter
from sslkit.training.monitor.throughput import Throughput
from sslkit.training.monitor.validation import ValidationMonitor
from sslkit.training.status import StatusWriter


class RunCallback(pl.Callback):
    """Lightning callback that computes and writes metrics, writes checkpoints and status, and stops training.

    Args:
        run: the run.
        learner: the Lightning module that is trained.
        processes: the processes of the training run; only the main process writes files and evaluates the network.
        monitor: measures validation metrics.
        reporter: receives progress events.
        stop_signal: receives the signals that stop training.
    """

    def __init__(
        self,
        run: Run,
        learner: Learner,
        processes: Processes,
        monitor: ValidationMonitor,
        reporter: Reporter,
        stop_signal: StopSignal,
    ) -> None:
        self.run = run
        learner.recorder = self
        self.assembly, self.context, self.compiled = learner.assembly, learner.assembly.context, learner.compiled
        self.processes = processes
        self.reporter = reporter
        self.stop_signal = stop_signal
        settings = self.assembly.recipe
        self.log_every = settings.monitor.log_every_steps
        self.stops_at_collapse = settings.monitor.collapse == "stop"
        self.policy = CheckpointPolicy(run.checkpoints, settings.train, self.context)
        self.writer = MetricsWriter(run, self.assembly, processes, reporter)
        self.selection = ClassifierSelection(learner)
        self.epoch_metrics = EpochMetrics(learner, monitor, self.selection)
        self.throughput = Throughput(self.assembly.loader, self.context.batch_size)
        self.status = StatusWriter(run, self.context, self.throughput, writes=processes.is_main)
        self.learning_rate = 0.0
        """Learning rate of the latest logged step, read before the schedule changes the rate."""
        self.resumed_state: dict[str, Any] | None = None
        """The callback's state in the checkpoint, which is restored when training starts, or None if there is none."""
        self.started = False
        """Whether training has started and the checkpoint's state is restored."""

    def state_dict(self) -> dict[str, Any]:
        own = self.writer.losses.state_dict() | {"random_state": get_random_state()}
        return {
            "loss_names": self.writer.losses.names,
            "metrics_file_size": self.writer.file_size(),
            "classifier_losses": {name: loss.cpu() for name, loss in self.selection.losses.items()},
            "checkpoint_policy": self.policy.state_dict(),
            "collapse_detector": self.epoch_metrics.detector.state_dict(),
            "processes": self.processes.gather(own),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # A run resumed with --allow processes may have more processes than before.
        own = state_dict["processes"][self.context.world.rank % len(state_dict["processes"])]
        self.writer.losses.load_state_dict(own)
        self.writer.losses.rescale(self.assembly.epoch_scale)
        self.writer.losses.names = list(state_dict["loss_names"])
        self.selection.losses = dict(state_dict["classifier_losses"])
        self.policy.load_state_dict(state_dict["checkpoint_policy"])
        if self.assembly.length_changed:  # losses with a different batch size are not comparable
            self.policy.forget_losses()
        self.epoch_metrics.detector.load_state_dict(state_dict["collapse_detector"])
        self.resumed_state = {"file_size": state_dict["metrics_file_size"], "random_state": own["random_state"]}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step = int(trainer.global_step)
        self._check_restored(step)
        self.started = True
        self.stop_signal.install_handlers()  # before measure_untrained, which may take minutes
        self.writer.losses.to(pl_module.device)
        if self.processes.is_main:
            self._open_files(step)
        self.throughput.restart(step)
        self.status.write("running", step)
        self.reporter.on_event(TrainingStarted(self.status.progress(step)))
        if self.resumed_state is not None:
            set_random_state(self.resumed_state["random_state"])
        self._report_compilation()
        # Wait here for the main process, because Lightning's barrier before the first step has a shorter timeout.
        self.processes.gather(None)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.started:  # resumed after the last step
            self._check_restored(int(trainer.global_step))

    def _check_restored(self, step: int) -> None:
        """Raise a ``RunError`` if Lightning restored the wrong step, for example because its version has changed."""
        if step != self.assembly.position.taken:
            raise RunError(
                f"{self.run.name} cannot be resumed: Lightning restored step {step} from a checkpoint of step "
                f"{self.assembly.position.taken}; install the version of pytorch-lightning in {self.run.provenance}"
            )

    def _open_files(self, step: int) -> None:
        if self.resumed_state is not None:
            self.writer.resume(self.resumed_state["file_size"], step)
            self.policy.link(step)
            return
        self.writer.file.create()
        metrics = self.epoch_metrics.measure_untrained()
        self.writer.write(0, _with_prefix(metrics))
        if "knn" in metrics:
            self.reporter.note(f"before the first step: knn {metrics['knn']:.3f}")

    def note(self, text: str) -> None:
        self.reporter.note(text)

    @property
    def row(self) -> int:
        return self.writer.losses.count

    def record(self, output: MethodOutput, row: Tensor) -> None:
        if self.writer.add(output, row):
            self.policy.forget_losses()
            self.selection.check(output)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        step = int(trainer.global_step) + 1
        self.writer.step = step
        if self._logs(step):  # only then, because the rate may be a tensor on the device
            self.learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        assert isinstance(pl_module, Learner)
        step = int(trainer.global_step)
        self._report_compilation()
        self.writer.losses.step_taken()
        position, steps_per_epoch = pl_module.position, self.context.steps_per_epoch
        finished, epoch_ended = step == self.assembly.position.steps, position % steps_per_epoch == 0
        if self._logs(step) or epoch_ended:
            self._check_finite(pl_module, step)
        if self._logs(step):
            self._log(step)
        if epoch_ended:
            self._end_epoch(step, position // steps_per_epoch)
        self.reporter.on_event(StepEnded(self.status.progress(step)))
        # Clocks and signals differ between processes, but all processes must save after the same step.
        stop, due = self.processes.any_process(
            bool(self.stop_signal.requested) and not finished, self.policy.interval.due(step)
        )
        if due or finished or stop:
            self._save(trainer, pl_module, step)
        if stop:
            trainer.should_stop = True

    def _logs(self, step: int) -> bool:
        return step % self.log_every == 0 or step == self.assembly.position.steps

    def _report_compilation(self) -> None:
        if self.compiled is not None and (cost := self.compiled.step_ended()):
            self.reporter.note(cost)

    def _check_finite(self, learner: Learner, step: int, *, check_weights: bool = False) -> None:
        """Raise a ``TrainingError`` if a loss or gradient was not finite in a step since the previous check.

        With ``check_weights``, also raise the error if the weights are not finite.
        """
        assert learner.stepper is not None
        failed = int(learner.stepper.guard.failed_step)
        if not failed and check_weights and not all_finite(learner.method.parameters(), may_sync=True):
            failed = step
        if failed:
            newest, _ = newest_valid(self.run.checkpoints)
            losses = self.writer.losses
            values = losses_of_step([self.writer.mean(row) for row in losses.pending], step, failed)
            saved = newest.step if newest else 0
            raise divergence_error(self.run, self.assembly, failed, saved, losses.names, values)

    def _log(self, step: int) -> None:
        losses = self.writer.write_losses(step) | {"lr": self.learning_rate}
        self.throughput.update(step)
        speed = self.throughput
        times = {"time/images_per_second": speed.images_per_second, "time/data_wait": speed.data_wait}
        self.writer.write(step, {"lr": self.learning_rate, **times})
        self.status.write_live(step)
        self.reporter.on_event(LossesLogged(self.status.progress(step), losses))

    def _end_epoch(self, step: int, epoch: int) -> None:
        self.throughput.update(step)
        loss, self.selection.losses = self.writer.end_epoch()
        measured, warnings = {}, []
        if self.processes.is_main:
            measured = self.epoch_metrics.measure(epoch)
            warnings = self.epoch_metrics.detect_collapse(measured, step)
        metrics = {"epoch_loss": loss, **_with_prefix(measured)}
        self.writer.write(step, metrics)
        self.reporter.on_event(EpochEnded(self.status.progress(step), metrics))
        self._report_collapse(warnings, step)
        self.throughput.restart(step)
        self.policy.epoch_loss = loss

    def _report_collapse(self, warnings: list[str], step: int) -> None:
        # Only the main process has warnings, but all processes must stop after the same step.
        warnings = self.processes.broadcast(warnings)
        for warning in warnings:
            self.reporter.note(f"warning: collapse at step {step}: {warning}")
        if warnings and self.stops_at_collapse:
            raise TrainingError(
                f'training collapsed at step {step}: {warnings[0]}; it stops because monitor.collapse = "stop"'
            )

    def _save(self, trainer: pl.Trainer, learner: Learner, step: int) -> None:
        self._check_finite(learner, step, check_weights=True)
        self.policy.save(trainer, step)
        if self.processes.is_main:
            self.writer.loggers.send()
        self.status.write("running", step)


def _with_prefix(metrics: dict[str, float]) -> dict[str, float]:
    return {f"monitor/{name}": value for name, value in metrics.items()}
