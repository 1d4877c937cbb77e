"""Progress display of a training run: bars on a terminal, plain lines in a pipe or a file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from sslkit.cli.common.console import print_text
from sslkit.cli.common.remaining_time import RemainingTime, format_seconds
from sslkit.training.events import (
    EpochEnded,
    Event,
    FeaturesComputed,
    LossesLogged,
    Note,
    Progress,
    Reporter,
    StepEnded,
    TrainingEnded,
    TrainingStarted,
)

SHOWN_METRICS = ("loss", "acc", "nmi", "knn", "classes_used", "entropy")
"""Metrics to show, in this order. An entry is a metric's name after the slash, such as ``acc`` of ``monitor/acc``."""

FEATURE_LINE_SECONDS = 10.0
"""Minimum time in seconds between two lines about computed features."""

EPOCH_LINE_SECONDS = 10.0
"""Minimum time in seconds between two lines about epochs."""

LABELS = {"classes_used": "classes used", "entropy": "class entropy"}
"""Text for a metric, if it differs from the metric's name."""

NARROW = 80
"""Terminal width in characters below which the throughput has its own line."""


def full_width_bar() -> BarColumn:
    """Return a progress bar that takes all the width that the other columns leave."""
    return BarColumn(bar_width=None, table_column=Column(ratio=1))


def console_reporter(console: Console) -> Reporter:
    """Return a reporter that shows bars on a terminal, or prints plain lines to a pipe or a file."""
    return TerminalReporter(console) if console.is_terminal else LineReporter(console)


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Format the metrics in ``SHOWN_METRICS`` as ``loss 1.234 (guess 2.303)  acc 0.912 ...``; leave out other metrics.

    ``guess`` is ln K, the loss of a uniform guess over K classes.
    """
    short = {name.rpartition("/")[2]: value for name, value in metrics.items()}
    if "epoch_loss" in short:
        short["loss"] = short.pop("epoch_loss")
    parts = []
    for name in SHOWN_METRICS:
        if name not in short:
            continue
        text = f"{LABELS.get(name, name)} {short[name]:.{0 if name == 'classes_used' else 3}f}"
        parts.append(f"{text} (guess {short['ln_k']:.3f})" if name == "loss" and "ln_k" in short else text)
    return "  ".join(parts)


class LineReporter(Reporter):
    """Reporter that prints notes and a plain line per epoch, for a pipe or a file.

    The line of an epoch that ends less than ``EPOCH_LINE_SECONDS`` after the previous line is left out. The line of the
    last epoch is always printed.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.remaining = RemainingTime()
        self.feature_lines = _FeatureLines()
        self.epoch_line = float("-inf")

    def on_event(self, event: Event) -> None:
        match event:
            case Note(text):
                print_text(self.console, text)
            case FeaturesComputed(images, total):
                if self.feature_lines.is_due(images, total):
                    self.note(f"features: {images} of {total} images{self.feature_lines.left}")
            case TrainingStarted(progress):
                self.remaining.start()
                self.epoch_line = float("-inf")
                self.note(f"training: {progress.epochs} epochs, {progress.steps} steps, from step {progress.step}")
            case EpochEnded(progress, metrics):
                self.remaining.end_epoch()
                self._print_epoch(progress, metrics)
            case StepEnded():
                self.remaining.end_step()

    def _print_epoch(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - self.epoch_line < EPOCH_LINE_SECONDS and progress.epoch < progress.epochs:
            return
        self.epoch_line = now
        seconds = self.remaining.estimate(progress.steps - progress.step, progress.epochs - progress.epoch)
        left = "" if seconds is None else f"  left {seconds:.0f} s"
        speed = f"{progress.images_per_second:.0f} images/s  waiting for data {progress.data_wait:.0%}"
        self.note(f"epoch {progress.epoch}/{progress.epochs}  {format_metrics(metrics)}  {speed}{left}")


class _FeatureLines:
    """Timer for progress lines while features are computed: one every ``FEATURE_LINE_SECONDS``, and one at the end."""

    def __init__(self) -> None:
        self.started: float | None = None
        self.printed = 0.0
        self.left = ""

    def is_due(self, images: int, total: int) -> bool:
        """Return whether to print a progress line after ``images`` of ``total`` images.

        If so, also set the attribute ``left`` to the text of the estimated remaining time, or to ``""`` at the end.
        """
        now = time.monotonic()
        if self.started is None:
            self.started = self.printed = now
        if now - self.printed < FEATURE_LINE_SECONDS and images < total:
            return False
        seconds = (now - self.started) * (total - images) / images
        self.printed, self.left = now, f"  left {seconds:.0f} s" if images < total else ""
        if images == total:
            self.started = None
        return True


class TerminalReporter(Reporter):
    """Reporter that shows bars for epochs and steps, with the latest metrics below them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.losses: dict[str, float] = {}
        self.epoch_metrics: dict[str, float] = {}
        self.remaining = RemainingTime()
        self.bars = _Bars(self)
        self.features: RichProgress | None = None

    def on_event(self, event: Event) -> None:
        match event:
            case Note(text):
                print_text(self.console, text)
            case FeaturesComputed(images, total):
                self._show_features(images, total)
            case TrainingStarted(progress):
                self._start(progress)
            case StepEnded(progress):
                self.remaining.end_step()
                self._update(progress)
            case LossesLogged(_, losses):
                self.losses = dict(losses)
            case EpochEnded(_, metrics):
                self.remaining.end_epoch()
                # After an epoch without a measurement, the latest measured values stay visible.
                self.epoch_metrics |= {name: value for name, value in metrics.items() if name.startswith("monitor/")}
            case TrainingEnded():
                self.bars.stop()

    def _show_features(self, images: int, total: int) -> None:
        """Set the progress bar of the features to ``images`` of ``total``; show or stop the bar if necessary."""
        if self.features is None:
            columns = (TextColumn("features"), full_width_bar(), MofNCompleteColumn(), TimeRemainingColumn())
            self.features = RichProgress(*columns, console=self.console, expand=True)
            self.features.add_task("features", total=total)
            self.features.start()
        self.features.update(self.features.task_ids[0], completed=images)
        if images == total:
            self.features.stop()
            self.features = None

    def _start(self, progress: Progress) -> None:
        self.epochs = self.bars.add_task("epochs", total=progress.epochs, completed=progress.epoch, speed="", left="")
        self.steps = self.bars.add_task("steps", total=progress.steps_per_epoch, speed="", left="")
        self.remaining.start()
        self.bars.start()
        self._update(progress)

    def _update(self, progress: Progress) -> None:
        # Numbers of a fixed width, so that the bars keep their length.
        speed = f"{progress.images_per_second:6.0f} images/s, waiting {progress.data_wait:4.0%}"
        per_epoch = progress.steps_per_epoch
        position = progress.epochs * per_epoch - (progress.steps - progress.step)
        done = position - (position - 1) // per_epoch * per_epoch if position else 0
        left = self._left(progress.steps - progress.step, progress.epochs - progress.epoch)
        self.bars.update(self.epochs, completed=position / per_epoch, left=left)
        self.bars.update(
            self.steps,
            completed=done,
            speed=speed if progress.images_per_second else " " * len(speed),
            left=self._left(per_epoch - done, int(done < per_epoch)),
        )

    def _left(self, steps: int, epochs: int) -> str:
        seconds = self.remaining.estimate(steps, epochs)
        return "-:--:--" if seconds is None else format_seconds(seconds)


class _Bars(RichProgress):
    """Progress bars that adapt to the terminal's width whenever the width changes."""

    def __init__(self, reporter: TerminalReporter) -> None:
        self.reporter = reporter
        super().__init__(console=reporter.console, refresh_per_second=4, expand=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        narrow = self.reporter.console.width < NARROW
        speed = TextColumn("{task.fields[speed]}")
        self.columns = (
            TextColumn("{task.description:<6}"),
            full_width_bar(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", style="progress.remaining"),
            *(() if narrow else (speed,)),
        )
        yield self.make_tasks_table(self.tasks)
        if narrow and self.tasks:
            yield Text(str(self.tasks[-1].fields["speed"]).strip())
        yield Text(format_metrics(self.reporter.losses | self.reporter.epoch_metrics))
