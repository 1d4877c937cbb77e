from __future__ import annotations

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from sslkit.cli.common.resilient_reporter import ResilientReporter
from sslkit.cli.common.progress import LineReporter, reporter
from sslkit.runs.find import all_runs
from sslkit.training.events import Progress


def test_a_training_whose_pipe_is_closed_goes_on(tiny: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sslkit.cli", "train", str(tiny), "--runs", str(tmp_path / "runs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("device: cpu")
        process.stdout.close()
        assert process.wait(120) == 0
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "finished"
    assert run.has_weights


class Gone(io.StringIO):
    """A terminal that has vanished after so many writes."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left
        self.tried = 0

    def write(self, text: str) -> int:
        self.tried += 1
        if self.tried > self.left:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_that_vanishes_is_left_alone(terminal: bool) -> None:
    screen = Gone(left=1)
    console = Console(file=screen, force_terminal=terminal, width=80)
    heard = ResilientReporter(reporter(console), console)
    heard.note("first")
    for method in (heard.begin, heard.step, heard.end):
        method(Progress(1, 4, 0, 2))
    tried = screen.tried
    for method in (heard.figures, heard.epoch):
        method(Progress(2, 4, 1, 2), {"loss": 1.0})
    heard.note("last")
    assert screen.getvalue() == "first\n"
    assert screen.tried == tried


def test_what_is_wrong_in_a_reporter_itself_is_not_hidden() -> None:
    class Wrong(LineReporter):
        def note(self, text: str) -> None:
            raise ZeroDivisionError

    console = Console(file=io.StringIO())
    with pytest.raises(ZeroDivisionError):
        ResilientReporter(Wrong(console), console).note("x")
