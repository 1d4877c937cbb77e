"""Writer of a run's ``status.json``."""

from __future__ import annotations

import time
from contextlib import suppress

from sslkit.contracts.context import Context
from sslkit.runs.run import Run
from sslkit.runs.status import State
from sslkit.training.events import Progress
from sslkit.training.monitor.throughput import Throughput

LIVE_SECONDS = 2.0
"""Shortest time in seconds between two updates of the step, because each update waits for the disk."""


class StatusWriter:
    """Writer that records a run's state and progress in ``status.json``.

    Args:
        run: the run.
        context: the ``Context`` of the training run.
        throughput: measures the training speed.
        writes: whether this process writes the file.
    """

    def __init__(self, run: Run, context: Context, throughput: Throughput, *, writes: bool) -> None:
        self.run = run
        self.context = context
        self.throughput = throughput
        self.writes = writes
        self.last_write = -LIVE_SECONDS

    def progress(self, step: int) -> Progress:
        """Return the progress after ``step`` steps, for events."""
        context, speed = self.context, (self.throughput.images_per_second, self.throughput.data_wait)
        steps = context.total_steps + context.step_offset
        epoch = (step - context.step_offset) // context.steps_per_epoch
        return Progress(step, steps, epoch, context.epochs, context.steps_per_epoch, *speed)

    def write(self, state: State, step: int) -> None:
        """Write the run's state and the progress after ``step`` steps."""
        if self.writes:
            progress = self.progress(step)
            self.run.write_status(state, progress.step, progress.steps, progress.epoch, progress.epochs)
            self.last_write = time.monotonic()

    def write_live(self, step: int) -> None:
        """Write the current step for ``sslkit runs list``, at most once every ``LIVE_SECONDS`` seconds."""
        if time.monotonic() - self.last_write >= LIVE_SECONDS:
            with suppress(OSError):  # a full disk must stop training only when a checkpoint is due
                self.write("running", step)

    def write_state(self, state: State) -> None:
        """Write the state of a run that ended before training started or resumed; keep the recorded progress."""
        if self.writes:
            status = self.run.status
            self.run.write_status(state, status.step, status.steps, status.epoch, status.epochs)
