"""Ctrl-C and SIGTERM ask a training to stop after its current step; a second Ctrl-C stops at once.

In a SLURM job its signal of approaching time does the same, and so does SIGHUP, by which a terminal that is closed ends
what runs in it; under ``nohup``, which has it ignored, it stays so.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sslkit.training.distributed import slurm


def signals() -> tuple[signal.Signals, ...]:
    """What asks a training to stop, here."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else []))


class StopSignal:
    """Whether somebody asked to stop.

    Attributes:
        requested: name of the signal that asked, SLURM's own before any other; or empty.
    """

    def __init__(self) -> None:
        self.requested = ""

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        # SLURM sends SIGTERM after its own signal, too, and the job is to be requeued all the same.
        if self.requested != slurm.SIGNAL.name:
            self.requested = signal.Signals(number).name

    def listen(self) -> None:
        """Take the signals over.  Called when training starts, after Lightning has set its own handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in (*signals(), *([slurm.SIGNAL] if slurm.job() else [])):
                signal.signal(number, self._receive)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Put back after the training what handled the signals before it; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (*signals(), slurm.SIGNAL)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
