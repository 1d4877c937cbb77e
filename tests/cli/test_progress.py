"""Progress of a training on a terminal and in a pipe."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from sslkit.cli.common import progress
from sslkit.cli.common.progress import LineReporter, TerminalReporter, console_reporter
from sslkit.training.events import EpochEnded, LossesLogged, Progress, StepEnded, TrainingEnded, TrainingStarted

METRICS = {
    "epoch_loss": 1.25,
    "monitor/ln_k": 2.302585,
    "monitor/acc": 0.5,
    "monitor/knn": 0.875,
    "monitor/classes_used": 9.0,
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    times: Iterator[float] = iter([100.0, 130.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))


def test_a_pipe_gets_one_plain_line_per_epoch(clock: None) -> None:
    out = io.StringIO()
    reporter = console_reporter(Console(file=out, width=40))
    assert type(reporter) is LineReporter
    reporter.note("data: 5 images [of] 1x8x8")
    reporter.on_event(TrainingStarted(Progress(10, 40, 1, 4, 10)))
    reporter.on_event(StepEnded(Progress(11, 40, 1, 4, 10)))
    reporter.on_event(EpochEnded(Progress(20, 40, 2, 4, 10, images_per_second=512.4, data_wait=0.034), METRICS))
    reporter.on_event(TrainingEnded(Progress(40, 40, 4, 4, 10)))
    assert out.getvalue().splitlines() == [
        "data: 5 images [of] 1x8x8",
        "training: 4 epochs, 40 steps, from step 10",
        "epoch 2/4  loss 1.250 (ln K 2.303)  acc 0.500  knn 0.875  classes used 9  512 images/s  waiting 3%  left 60 s",
    ]


def test_a_terminal_gets_bars_and_the_latest_metrics() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=100)
    reporter = console_reporter(console)
    assert isinstance(reporter, TerminalReporter)
    reporter.on_event(TrainingStarted(Progress(0, 40, 0, 4, 10)))
    reporter.on_event(LossesLogged(Progress(10, 40, 1, 4, 10), {"loss": 1.5, "lr": 0.1}))
    reporter.on_event(EpochEnded(Progress(10, 40, 1, 4, 10), METRICS))
    reporter.on_event(EpochEnded(Progress(10, 40, 1, 4, 10), {"epoch_loss": 1.0}))  # not every epoch is measured
    reporter.on_event(StepEnded(Progress(13, 40, 1, 4, 10, images_per_second=700, data_wait=0.5)))
    reporter.on_event(TrainingEnded(Progress(13, 40, 1, 4, 10)))
    out = io.StringIO()
    Console(file=out, width=100).print(*reporter.bars.get_renderables())
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[0].startswith("epochs ━━━━━━━╸")
    assert " 1/4 " in lines[0]
    assert lines[1].startswith("steps  ━━━━━━━ ")
    assert " 3/10 " in lines[1]
    assert lines[1].endswith("700 images/s, waiting 50%")
    assert lines[2] == "loss 1.500 (ln K 2.303)  acc 0.500  knn 0.875  classes used 9"


def test_the_last_step_of_an_epoch_fills_the_bar() -> None:
    reporter = TerminalReporter(Console(file=io.StringIO(), force_terminal=True))
    reporter.on_event(TrainingStarted(Progress(0, 40, 0, 4, 10)))
    for step, step_in_epoch in ((1, 1), (10, 10), (11, 1), (40, 10)):
        reporter.on_event(StepEnded(Progress(step, 40, step // 10, 4, 10)))
        assert reporter.bars.tasks[1].completed == step_in_epoch
    reporter.on_event(TrainingEnded(Progress(40, 40, 4, 4, 10)))


def test_bars_follow_the_epochs_after_a_resume_with_another_batch_size() -> None:
    reporter = TerminalReporter(Console(file=io.StringIO(), force_terminal=True))
    # 61 steps are 4 of 10 epochs; 3 steps make an epoch from now on.
    reporter.on_event(TrainingStarted(Progress(61, 79, 4, 10, 3)))
    for step, epochs, step_in_epoch in ((61, 4, 3), (62, 13 / 3, 1), (64, 5, 3), (79, 10, 3)):
        reporter.on_event(StepEnded(Progress(step, 79, int(epochs), 10, 3)))
        assert [task.completed for task in reporter.bars.tasks] == pytest.approx([epochs, step_in_epoch])
    reporter.on_event(TrainingEnded(Progress(79, 79, 10, 10, 3)))
