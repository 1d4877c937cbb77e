"""Write a run's metrics to ``metrics.csv`` and to loggers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.method import MethodOutput
from sslkit.runs.metrics_file import MetricsFile
from sslkit.runs.run import Run
from sslkit.training.distributed.processes import Processes
from sslkit.training.events import Reporter
from sslkit.training.monitor.loggers import Loggers
from sslkit.training.monitor.loss_accumulator import LossAccumulator


class MetricsWriter:
    """Writer of a run's metrics to ``metrics.csv`` and to loggers. Only the main process writes.

    Losses that have not been written yet are saved in checkpoints, so that a resumed run writes the same rows as an
    uninterrupted run.

    Args:
        run: the run.
        assembly: the assembled recipe.
        processes: the processes of the training run.
        reporter: receives warnings.
    """

    def __init__(self, run: Run, assembly: Assembly, processes: Processes, reporter: Reporter) -> None:
        self.context = assembly.context
        self.epoch_before = assembly.start.position.epoch if assembly.start.position else 0.0
        self.writes = processes.is_main
        self.reporter = reporter
        self.file = MetricsFile(run.metrics, lambda text: reporter.note(f"warning: {text}"))
        self.loggers = Loggers(run, assembly.recipe, reporter)
        self.losses = LossAccumulator(assembly.recipe.monitor.log_every_steps)
        self.step = 0
        """The current step, counted from 1."""

    def resume(self, size: int, step: int) -> None:
        """Truncate ``metrics.csv`` to ``size``, its size in bytes at the checkpoint of ``step``."""
        if problem := self.file.resume_at(size, step):
            self.reporter.note(f"warning: {problem}")

    def add(self, output: MethodOutput, row: Tensor) -> bool:
        """Store the losses of the current step in row ``row`` of the loss accumulator.

        Return whether the names of losses have changed since the previous step.
        """
        names = ["loss", *output.terms]
        changed = names != self.losses.names
        if changed:  # write pending losses with their old names
            self.write_losses(self.step - 1)
            self.losses.names = names
            row = torch.zeros_like(row)
        self.losses.add(output, row)
        return changed

    def write_losses(self, step: int) -> dict[str, float]:
        """Write the mean losses since the previous call, over all processes; return a mapping from name to mean."""
        if not self.losses.pending:
            return {}
        means = dict(zip(self.losses.names, self.mean(self.losses.take_mean()).tolist(), strict=True))
        self.write(step, means)
        return means

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one row for each metric, at ``step``."""
        if self.writes:
            epoch = (step - self.context.step_offset) / self.context.steps_per_epoch
            # A resumed run with different steps per epoch may start half a step before the last written row.
            self.file.append(step, max(epoch, self.epoch_before), metrics)

    def end_epoch(self) -> tuple[float, dict[str, Tensor]]:
        """Return the mean loss of the epoch, and for each head the summed losses of its classifiers.

        Both are averaged over all processes.
        """
        total, by_classifier = self.losses.end_epoch()
        loss = float(self.mean(total)) / self.context.steps_per_epoch
        return loss, {head: self.mean(losses) for head, losses in by_classifier.items()}

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes."""
        return self.context.world.sum(value) / self.context.world.size

    def file_size(self) -> int:
        """Flush ``metrics.csv`` to disk and return its size in bytes; return 0 if this is not the main process."""
        return self.file.flush() if self.writes else 0
