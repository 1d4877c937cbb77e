"""A training goes on when nobody hears of it any more: its terminal is gone, or the reader of its pipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rich.console import Console

from sslkit.cli.progress import reporter
from sslkit.training.events import Progress, Reporter


def enduring() -> Reporter:
    """Tells standard error how a training goes, as long as that can be written to."""
    console = _Console(stderr=True, highlight=False)
    return Enduring(reporter(console), console)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich would close standard output, whichever stream it was, and exit.
        raise BrokenPipeError


class Enduring(Reporter):
    """Tells another reporter, until that fails to write; from then on nothing is written at all.

    Args:
        told: the other reporter.
        console: what it writes to.
    """

    def __init__(self, told: Reporter, console: Console) -> None:
        self.told: Reporter | None = told
        self.console = console

    def _tell(self, method: str, *arguments: Any) -> None:
        if self.told is None:
            return
        try:
            getattr(self.told, method)(*arguments)
        except OSError:
            self.told = None
            _silence(self.console)

    def note(self, text: str) -> None:
        self._tell("note", text)

    def begin(self, progress: Progress) -> None:
        self._tell("begin", progress)

    def step(self, progress: Progress) -> None:
        self._tell("step", progress)

    def figures(self, progress: Progress, figures: Mapping[str, float]) -> None:
        self._tell("figures", progress, figures)

    def epoch(self, progress: Progress, figures: Mapping[str, float]) -> None:
        self._tell("epoch", progress, figures)

    def end(self, progress: Progress) -> None:
        self._tell("end", progress)


def _silence(console: Console) -> None:
    """Let the stream that failed swallow what others write to it, and standard output where it is the same."""
    with suppress(OSError, ValueError):
        failed = console.file.fileno()
        lost = [number for number in {failed, 1} if os.path.sameopenfile(number, failed)]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in lost:
            os.dup2(nowhere, number)
