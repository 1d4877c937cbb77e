"""Training continues after its terminal or pipe is closed."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest
from processes.forked_cli import start_sslkit
from rich.console import Console

from sslkit.cli.common.progress import LineReporter, console_reporter
from sslkit.cli.common.resilient_reporter import ResilientReporter
from sslkit.runs.find import all_runs
from sslkit.training.events import (
    EpochEnded,
    Event,
    LossesLogged,
    Note,
    Progress,
    StepEnded,
    TrainingEnded,
    TrainingStarted,
)


def test_training_continues_when_its_pipe_is_closed(
    tiny: Path, tmp_path: Path, environment: dict[str, str], fail_if_blocked: None
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as output, os.fdopen(writer, "w") as pipe:
        process = start_sslkit(["train", str(tiny)], environment, tmp_path, pipe, pipe)
        assert output.readline().startswith("device: cpu")
    process.join(120)
    assert process.exitcode == 0
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "finished"
    assert run.has_weights


class LostTerminal(io.StringIO):
    """A terminal that fails after a number of writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes = writes
        self.attempts = 0

    def write(self, text: str) -> int:
        self.attempts += 1
        if self.attempts > self.writes:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_is_written_to_a_lost_terminal(terminal: bool) -> None:
    screen = LostTerminal(writes=1)
    console = Console(file=screen, force_terminal=terminal, width=80)
    reporter = ResilientReporter(console_reporter(console), console)
    reporter.note("first")
    for event in (TrainingStarted, StepEnded, TrainingEnded):
        reporter.on_event(event(Progress(1, 4, 0, 2, 2)))
    attempts = screen.attempts
    for logged in (LossesLogged, EpochEnded):
        reporter.on_event(logged(Progress(2, 4, 1, 2, 2), {"loss": 1.0}))
    reporter.note("last")
    assert screen.getvalue() == "first\n"
    assert screen.attempts == attempts


def test_a_bug_in_a_reporter_is_not_hidden() -> None:
    class BrokenReporter(LineReporter):
        def on_event(self, event: Event) -> None:
            assert event == Note("x")
            raise ZeroDivisionError

    console = Console(file=io.StringIO())
    with pytest.raises(ZeroDivisionError):
        ResilientReporter(BrokenReporter(console), console).note("x")
