"""Progress display of training on a terminal and in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sslkit.cli.common import remaining_time
from sslkit.cli.common.progress import LineReporter, TerminalReporter, console_reporter
from sslkit.training.events import (
    EpochEnded,
    FeaturesComputed,
    LossesLogged,
    Progress,
    Reporter,
    StepEnded,
    TrainingEnded,
    TrainingStarted,
)

METRICS = {
    "epoch_loss": 1.25,
    "monitor/ln_k": 2.302585,
    "monitor/acc": 0.5,
    "monitor/knn": 0.875,
    "monitor/classes_used": 9.0,
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose only item is the time in seconds."""
    now = [100.0]
    monkeypatch.setattr(remaining_time.time, "monotonic", lambda: now[0])
    return now


def train_steps(reporter: Reporter, clock: list[float], step: int, seconds: float) -> None:
    """Send the events of a step that takes ``seconds``. Each tenth step ends an epoch, with 3 seconds of validation."""
    ends_epoch = step % 10 == 0
    clock[0] += seconds + 3 * ends_epoch
    progress = Progress(step, 40, step // 10, 4, 10, images_per_second=512.4, data_wait=0.034)
    if ends_epoch:
        reporter.on_event(EpochEnded(progress, METRICS))
    reporter.on_event(StepEnded(progress))


def test_a_pipe_gets_plain_lines_of_epochs(clock: list[float]) -> None:
    out = io.StringIO()
    reporter = console_reporter(Console(file=out, width=40))
    assert type(reporter) is LineReporter
    reporter.note("data: 5 images [of] 1x8x8")
    reporter.on_event(TrainingStarted(Progress(10, 40, 1, 4, 10)))
    train_steps(reporter, clock, 11, 60.0)  # compiles
    for step in range(12, 21):
        train_steps(reporter, clock, step, 2.0)
    reporter.on_event(TrainingEnded(Progress(40, 40, 4, 4, 10)))
    assert out.getvalue().splitlines() == [
        "data: 5 images [of] 1x8x8",
        "training: 4 epochs, 40 steps, from step 10",
        "epoch 2/4  loss 1.250 (guess 2.303)  acc 0.500  knn 0.875  classes used 9  512 images/s  "
        "waiting for data 3%  left 40 s",
    ]


def test_a_pipe_gets_at_most_one_line_every_ten_seconds(clock: list[float]) -> None:
    out = io.StringIO()
    reporter = LineReporter(Console(file=out))
    reporter.on_event(TrainingStarted(Progress(0, 300, 0, 30, 10)))
    for epoch in range(1, 31):
        clock[0] += 1.0
        reporter.on_event(EpochEnded(Progress(10 * epoch, 300, epoch, 30, 10), METRICS))
    epochs = [line.split()[1] for line in out.getvalue().splitlines()[1:]]
    assert epochs == ["1/30", "11/30", "21/30", "30/30"]


def test_remaining_time_is_steady_despite_slow_steps(clock: list[float]) -> None:
    reporter = TerminalReporter(Console(file=io.StringIO(), force_terminal=True, color_system=None))
    reporter.on_event(TrainingStarted(Progress(0, 40, 0, 4, 10)))
    assert [task.fields["left"] for task in reporter.bars.tasks] == ["-:--:--", "-:--:--"]
    left = []
    for step in range(1, 31):
        slow = {1: 100.0, 13: 50.0}  # the first step compiles; in step 13 the disk is busy
        train_steps(reporter, clock, step, slow.get(step, 2.0))
        left.append(tuple(task.fields["left"] for task in reporter.bars.tasks))
    reporter.on_event(TrainingEnded(Progress(40, 40, 4, 4, 10)))
    assert left[0] == ("-:--:--", "-:--:--")
    assert left[1] == ("0:01:16", "0:00:16")  # 38 steps of 2 s
    assert left[9] == ("0:01:09", "0:00:00")  # 30 steps of 2 s, and 3 s of validation after each of 3 epochs
    assert left[12] == ("0:01:03", "0:00:17")
    assert left[29] == ("0:00:23", "0:00:00")


def test_remaining_time_is_that_of_many_steps_if_a_gpu_reports_them_in_bursts(clock: list[float]) -> None:
    remaining = remaining_time.RemainingTime()
    remaining.start()
    for step in range(2000):
        clock[0] += 0.1 if step % 10 == 0 else 0.001  # the host waits for the device at each tenth step
        remaining.end_step()
    assert remaining.estimate(1000, 0) == pytest.approx(10.9, rel=0.1)


def test_a_terminal_gets_bars_and_the_latest_metrics() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=100)
    reporter = console_reporter(console)
    assert isinstance(reporter, TerminalReporter)
    reporter.on_event(TrainingStarted(Progress(0, 40, 0, 4, 10)))
    reporter.on_event(LossesLogged(Progress(10, 40, 1, 4, 10), {"loss": 1.5, "lr": 0.1}))
    reporter.on_event(EpochEnded(Progress(10, 40, 1, 4, 10), METRICS))
    reporter.on_event(EpochEnded(Progress(10, 40, 1, 4, 10), {"epoch_loss": 1.0}))  # an epoch without validation
    reporter.on_event(StepEnded(Progress(13, 40, 1, 4, 10, images_per_second=700, data_wait=0.5)))
    reporter.on_event(TrainingEnded(Progress(13, 40, 1, 4, 10)))
    out = io.StringIO()
    Console(file=out, width=100).print(*reporter.bars.get_renderables())
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[0].startswith("epochs ━━━━━━━━━━━━━━━")
    assert " 1/4 " in lines[0]
    assert len(lines[1]) == 100, "the bars take the width that the numbers leave"
    assert lines[1].startswith("steps  ━━━━━━━")
    assert " 3/10 " in lines[1]
    assert lines[1].endswith("   700 images/s, waiting  50%")
    assert lines[2] == "loss 1.500 (guess 2.303)  acc 0.500  knn 0.875  classes used 9"


def test_the_last_step_of_an_epoch_fills_the_bar() -> None:
    reporter = TerminalReporter(Console(file=io.StringIO(), force_terminal=True, color_system=None))
    reporter.on_event(TrainingStarted(Progress(0, 40, 0, 4, 10)))
    for step, step_in_epoch in ((1, 1), (10, 10), (11, 1), (40, 10)):
        reporter.on_event(StepEnded(Progress(step, 40, step // 10, 4, 10)))
        assert reporter.bars.tasks[1].completed == step_in_epoch
    reporter.on_event(TrainingEnded(Progress(40, 40, 4, 4, 10)))


def test_bars_follow_the_epochs_after_a_resume_with_another_batch_size() -> None:
    reporter = TerminalReporter(Console(file=io.StringIO(), force_terminal=True, color_system=None))
    # 61 steps are 4 of 10 epochs. From now on, an epoch has 3 steps.
    reporter.on_event(TrainingStarted(Progress(61, 79, 4, 10, 3)))
    for step, epochs, step_in_epoch in ((61, 4, 3), (62, 13 / 3, 1), (64, 5, 3), (79, 10, 3)):
        reporter.on_event(StepEnded(Progress(step, 79, int(epochs), 10, 3)))
        assert [task.completed for task in reporter.bars.tasks] == pytest.approx([epochs, step_in_epoch])
    reporter.on_event(TrainingEnded(Progress(79, 79, 10, 10, 3)))


def test_a_pipe_gets_a_line_on_features_every_ten_seconds_and_at_the_end(clock: list[float]) -> None:
    out = io.StringIO()
    reporter = console_reporter(Console(file=out, width=80))
    for images in range(100, 1001, 100):
        reporter.on_event(FeaturesComputed(images, 1000))
        clock[0] += 3.0
    assert out.getvalue().splitlines() == [
        "features: 500 of 1000 images  left 12 s",
        "features: 900 of 1000 images  left 3 s",
        "features: 1000 of 1000 images",
    ]


def test_a_terminal_gets_a_bar_of_features() -> None:
    out = io.StringIO()
    reporter = console_reporter(Console(file=out, force_terminal=True, color_system=None, width=100))
    for images in (250, 1000):
        reporter.on_event(FeaturesComputed(images, 1000))
    assert "1000/1000" in out.getvalue()
