"""Stop training after the current step on Ctrl-C, SIGTERM, SIGHUP or SLURM's timeout signal.

A second Ctrl-C stops immediately. A closed terminal sends SIGHUP, which is ignored if training runs under ``nohup``.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from sslkit.training.distributed import slurm


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop training in this process."""
    sighup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *([] if sighup_ignored else [signal.SIGHUP]))


@contextmanager
def restored_handlers(numbers: Iterable[signal.Signals], handler: Any = None) -> Iterator[None]:
    """Restore the previous signal handlers after the ``with`` block; do nothing outside the main thread.

    Args:
        numbers: the signals.
        handler: handler of the signals inside the block; if None, the previous handlers are kept.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in numbers}
    try:
        if handler is not None:
            for number in previous:
                signal.signal(number, handler)
        yield
    finally:
        for number, previous_handler in previous.items():
            signal.signal(number, previous_handler)


class StopSignal:
    """Receiver of the signals that stop training.

    Attributes:
        requested: name of the latest received signal; empty before the first. SLURM's timeout signal is never replaced
            by a later signal.
    """

    def __init__(self) -> None:
        self.requested = ""

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        # SLURM may send SIGTERM after its timeout signal, and the job must still be requeued.
        if self.requested != slurm.TIMEOUT_SIGNAL.name:
            self.requested = signal.Signals(number).name

    def install_handlers(self) -> None:
        """Install the signal handlers. Call this method after Lightning has installed its own handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in (*stop_signals(), *([slurm.TIMEOUT_SIGNAL] if slurm.job_id() else [])):
                signal.signal(number, self._receive)
