"""Progress display of a training: bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from sslkit.cli.common.console import print_text
from sslkit.training.events import (
    EpochEnded,
    Event,
    LossesLogged,
    Note,
    Progress,
    Reporter,
    StepEnded,
    TrainingEnded,
    TrainingStarted,
)

SHOWN_METRICS = ("loss", "acc", "nmi", "knn", "classes_used", "entropy")
"""Metrics to show, in this order, by the last part of their names."""

NARROW = 80
"""Width of a terminal, in columns, below which bars are short and the throughput has its own line."""


def console_reporter(console: Console) -> Reporter:
    """Return bars for a terminal, and plain lines for a pipe or a file."""
    return TerminalReporter(console) if console.is_terminal else LineReporter(console)


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Format the shown metrics as ``loss 1.234 (ln K 2.303)  acc 0.912 ...``; missing ones are left out."""
    short = {name.rpartition("/")[2]: value for name, value in metrics.items()}
    if "epoch_loss" in short:
        short["loss"] = short.pop("epoch_loss")
    parts = []
    for name in SHOWN_METRICS:
        if name not in short:
            continue
        text = f"{name.replace('_', ' ')} {short[name]:.0f}" if name == "classes_used" else f"{name} {short[name]:.3f}"
        parts.append(f"{text} (ln K {short['ln_k']:.3f})" if name == "loss" and "ln_k" in short else text)
    return "  ".join(parts)


class LineReporter(Reporter):
    """Reporter that prints notes and one plain line per epoch."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.start_time = 0.0
        self.start_step = 0

    def on_event(self, event: Event) -> None:
        match event:
            case Note(text):
                print_text(self.console, text)
            case TrainingStarted(progress):
                self.start_time, self.start_step = time.monotonic(), progress.step
                self.note(f"training: {progress.epochs} epochs, {progress.steps} steps, from step {progress.step}")
            case EpochEnded(progress, metrics):
                self._print_epoch(progress, metrics)

    def _print_epoch(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        seconds, steps = time.monotonic() - self.start_time, progress.step - self.start_step
        left = seconds / max(steps, 1) * (progress.steps - progress.step)
        speed = f"{progress.images_per_second:.0f} images/s  waiting {progress.data_wait:.0%}"
        self.note(f"epoch {progress.epoch}/{progress.epochs}  {format_metrics(metrics)}  {speed}  left {left:.0f} s")


class TerminalReporter(Reporter):
    """Reporter that shows bars for epochs and steps, with the latest metrics below them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.losses: dict[str, float] = {}
        self.epoch_metrics: dict[str, float] = {}
        self.bars = _Bars(self)

    def on_event(self, event: Event) -> None:
        match event:
            case Note(text):
                print_text(self.console, text)
            case TrainingStarted(progress):
                self._start(progress)
            case StepEnded(progress):
                self._update(progress)
            case LossesLogged(_, losses):
                self.losses = dict(losses)
            case EpochEnded(_, metrics):
                # Epochs without a measurement keep showing the values of the last one.
                self.epoch_metrics |= {name: value for name, value in metrics.items() if name.startswith("monitor/")}
            case TrainingEnded():
                self.bars.stop()

    def _start(self, progress: Progress) -> None:
        self.epochs = self.bars.add_task("epochs", total=progress.epochs, completed=progress.epoch, speed="")
        self.steps = self.bars.add_task("steps", total=progress.steps_per_epoch, speed="")
        self.bars.start()
        self._update(progress)

    def _update(self, progress: Progress) -> None:
        speed = f"{progress.images_per_second:.0f} images/s, waiting {progress.data_wait:.0%}"
        per_epoch = progress.steps_per_epoch
        position = progress.epochs * per_epoch - (progress.steps - progress.step)
        self.bars.update(self.epochs, completed=position / per_epoch)
        self.bars.update(
            self.steps,
            completed=position - (position - 1) // per_epoch * per_epoch if position else 0,
            speed=speed if progress.images_per_second else "",
        )


class _Bars(RichProgress):
    """Progress bars that adapt to the width of the terminal, also when it changes."""

    def __init__(self, reporter: TerminalReporter) -> None:
        self.reporter = reporter
        self.time_remaining = TimeRemainingColumn()  # one instance: it smooths its estimate over calls
        super().__init__(console=reporter.console, refresh_per_second=4)

    def get_renderables(self) -> Iterable[RenderableType]:
        narrow = self.reporter.console.width < NARROW
        speed = TextColumn("{task.fields[speed]}")
        self.columns = (
            TextColumn("{task.description:<6}"),
            BarColumn(bar_width=8 if narrow else 24),
            MofNCompleteColumn(),
            self.time_remaining,
            *(() if narrow else (speed,)),
        )
        yield self.make_tasks_table(self.tasks)
        if narrow and self.tasks:
            yield Text(str(self.tasks[-1].fields["speed"]))
        yield Text(format_metrics(self.reporter.losses | self.reporter.epoch_metrics))
