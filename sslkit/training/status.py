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
"""Least time in seconds between two updates of the step while training, because each one waits for the disk."""


class StatusWriter:
    """Writer of how far a run is, to ``status.json`` and to progress events.

    Args:
        run: the run.
        context: runtime facts of the training.
        throughput: measures the training's speed.
        writes: whether this process writes the file.
    """

    def __init__(self, run: Run, context: Context, throughput: Throughput, *, writes: bool) -> None:
        self.run = run
        self.context = context
        self.throughput = throughput
        self.writes = writes
        self.last_write = -LIVE_SECONDS

    def progress(self, step: int) -> Progress:
        """Return the progress after ``step``."""
        context, speed = self.context, (self.throughput.images_per_second, self.throughput.data_wait)
        steps = context.total_steps + context.step_offset
        epoch = (step - context.step_offset) // context.steps_per_epoch
        return Progress(step, steps, epoch, context.epochs, context.steps_per_epoch, *speed)

    def write(self, state: State, step: int) -> None:
        """Write ``status.json``."""
        if self.writes:
            progress = self.progress(step)
            self.run.write_status(state, progress.step, progress.steps, progress.epoch, progress.epochs)
            self.last_write = time.monotonic()

    def write_live(self, step: int) -> None:
        """Write the step of a running training for ``sslkit runs list``, unless it was written just before."""
        if time.monotonic() - self.last_write >= LIVE_SECONDS:
            with suppress(OSError):  # only checkpoints need a disk that can be written
                self.write("running", step)

    def write_state(self, state: State) -> None:
        """Write another state with the progress that ``status.json`` has: the training has not started."""
        if self.writes:
            status = self.run.status
            self.run.write_status(state, status.step, status.steps, status.epoch, status.epochs)
