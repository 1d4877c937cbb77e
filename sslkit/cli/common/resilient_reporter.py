"""Reporter that lets training continue after the terminal or pipe is closed."""

from __future__ import annotations

import os
from contextlib import suppress

from rich.console import Console

from sslkit.cli.common.progress import console_reporter
from sslkit.training.events import Event, Reporter


def stderr_reporter() -> Reporter:
    """Return a reporter that shows progress on standard error, and discards all events after a failed write."""
    console = _Console(stderr=True, highlight=False)
    return ResilientReporter(console_reporter(console), console)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # By default, Rich closes standard output and exits, even if a different stream failed.
        raise BrokenPipeError


class ResilientReporter(Reporter):
    """Reporter that forwards events to a second reporter. After a failed write, events are discarded.

    A failed write, such as on a closed terminal, thus does not stop training.

    Args:
        target: the reporter that receives the events.
        console: console that ``target`` writes to.
    """

    def __init__(self, target: Reporter, console: Console) -> None:
        self.target: Reporter | None = target
        self.console = console

    def on_event(self, event: Event) -> None:
        if self.target is None:
            return
        try:
            self.target.on_event(event)
        except OSError:
            self.target = None
            _redirect_to_null(self.console)


def _redirect_to_null(console: Console) -> None:
    """Redirect the console's stream to the null device, and standard output as well if it is the same file."""
    with suppress(OSError, ValueError):
        failed = console.file.fileno()
        lost = [number for number in {failed, 1} if os.path.sameopenfile(number, failed)]
        null = os.open(os.devnull, os.O_WRONLY)
        for number in lost:
            os.dup2(null, number)
