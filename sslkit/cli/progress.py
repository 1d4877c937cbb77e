"""Shows a training while it runs: bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from sslkit.cli.console import say
from sslkit.training.events import Progress, Reporter

SHOWN = ("loss", "acc", "nmi", "knn", "classes_used", "entropy")
"""Figures that the line below the bars has room for, by the end of their names."""

NARROW = 80
"""Columns of a terminal below which bars are short and the speed has a line of its own."""


def reporter(console: Console) -> Reporter:
    """The reporter that suits the console."""
    return TerminalReporter(console) if console.is_terminal else LineReporter(console)


def summary(figures: Mapping[str, float]) -> str:
    """``loss 1.234 (ln K 2.303)  acc 0.912 ...`` of the figures there are."""
    short = {name.rpartition("/")[2]: value for name, value in figures.items()}
    if "epoch_loss" in short:
        short["loss"] = short.pop("epoch_loss")
    parts = []
    for name in SHOWN:
        if name not in short:
            continue
        text = f"{name.replace('_', ' ')} {short[name]:.0f}" if name == "classes_used" else f"{name} {short[name]:.3f}"
        parts.append(f"{text} (ln K {short['ln_k']:.3f})" if name == "loss" and "ln_k" in short else text)
    return "  ".join(parts)


class LineReporter(Reporter):
    """One plain line for each epoch."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = (0.0, 0)

    def note(self, text: str) -> None:
        say(self.console, text)

    def begin(self, progress: Progress) -> None:
        self.began = (time.monotonic(), progress.step)
        self.note(f"training: {progress.epochs} epochs, {progress.steps} steps, from step {progress.step}")

    def epoch(self, progress: Progress, figures: Mapping[str, float]) -> None:
        seconds, done = time.monotonic() - self.began[0], progress.step - self.began[1]
        left = seconds / max(done, 1) * (progress.steps - progress.step)
        speed = f"{progress.images_per_second:.0f} images/s  waiting {progress.waiting:.0%}"
        self.note(f"epoch {progress.epoch}/{progress.epochs}  {summary(figures)}  {speed}  left {left:.0f} s")


class TerminalReporter(LineReporter):
    """Bars for epochs and steps, and the newest figures below them."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.losses: dict[str, float] = {}
        self.monitors: dict[str, float] = {}
        self.bars = _Bars(self)

    def begin(self, progress: Progress) -> None:
        self.epochs = self.bars.add_task("epochs", total=progress.epochs, completed=progress.epoch, speed="")
        self.steps = self.bars.add_task("steps", total=progress.steps // progress.epochs, speed="")
        self.bars.start()
        self.step(progress)

    def step(self, progress: Progress) -> None:
        speed = f"{progress.images_per_second:.0f} images/s, waiting {progress.waiting:.0%}"
        per_epoch = progress.steps // progress.epochs
        self.bars.update(self.epochs, completed=progress.step / per_epoch)
        self.bars.update(
            self.steps,
            completed=progress.step - (progress.step - 1) // per_epoch * per_epoch if progress.step else 0,
            speed=speed if progress.images_per_second else "",
        )

    def figures(self, progress: Progress, figures: Mapping[str, float]) -> None:
        self.losses = dict(figures)

    def epoch(self, progress: Progress, figures: Mapping[str, float]) -> None:
        # Not every epoch is measured: until the next is, the last values stay in sight.
        self.monitors |= {name: value for name, value in figures.items() if name.startswith("monitor/")}

    def end(self, progress: Progress) -> None:
        self.bars.stop()


class _Bars(Bars):
    """Bars that fit the terminal, also while its width changes."""

    def __init__(self, owner: TerminalReporter) -> None:
        self.owner = owner
        self.left = TimeRemainingColumn()  # keeps what it showed, so that it does not flicker
        super().__init__(console=owner.console, refresh_per_second=4)

    def get_renderables(self) -> Iterable[RenderableType]:
        narrow = self.owner.console.width < NARROW
        speed = TextColumn("{task.fields[speed]}")
        self.columns = (
            TextColumn("{task.description:<6}"),
            BarColumn(bar_width=8 if narrow else 24),
            MofNCompleteColumn(),
            self.left,
            *(() if narrow else (speed,)),
        )
        yield self.make_tasks_table(self.tasks)
        if narrow and self.tasks:
            yield Text(str(self.tasks[-1].fields["speed"]))
        yield Text(summary(self.owner.losses | self.owner.monitors))
