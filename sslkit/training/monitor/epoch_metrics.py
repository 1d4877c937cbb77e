"""What a run measures before its first step and at the end of epochs, and whether that shows a collapse."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from sslkit.training.learner import Learner
from sslkit.training.monitor.classifier_selection import ClassifierSelection
from sslkit.training.monitor.collapse_detector import CollapseDetector
from sslkit.training.monitor.collapse_metrics import CollapseMetrics
from sslkit.training.monitor.validation import ValidationMonitor


class EpochMetrics:
    """Monitors and the signs of collapse, each when it is due.

    Args:
        learner: what is trained.
        monitor: measures at the end of the epochs that the recipe names, and after the last.
        choice: the classifier that is measured.

    Attributes:
        watch: its state goes into checkpoints.
    """

    def __init__(self, learner: Learner, monitor: ValidationMonitor, choice: ClassifierSelection) -> None:
        self.method, self.context = learner.method, learner.assembly.context
        self.compiled = learner.compiled
        self.watched = learner.assembly.recipe.monitor.collapse != "off"
        self.monitor = monitor
        self.choice = choice
        self.signs = CollapseMetrics(learner.assembly)
        self.watch = CollapseDetector()

    def start(self) -> dict[str, float]:
        """Figures of the untrained network: what is measured later has these as its floor."""
        figures: dict[str, float] = {}
        with self._uncompiled():
            if self.watched:
                figures |= self.signs.measure()
                self.watch.untrained = figures["rank"]
            figures |= self.monitor.measure(None)
        return figures

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Figures that are due after an epoch, counted from 1; they may be none."""
        every = self.monitor.every
        due = bool(every) and (epoch % every == 0 or epoch == self.context.epochs)
        started = {self.method.head_of[name] for name in self.method.started(epoch - 1)}
        classifier = self.choice.place if self.choice.head in started else None
        figures: dict[str, float] = {}
        with self._uncompiled():
            # A collapse is to be told soon: its signs cost little and are measured after every epoch.
            if self.watched or due:
                figures |= self.signs.measure(classifier)
            if due:
                figures |= self.monitor.measure(classifier)
        return figures

    def judge(self, figures: Mapping[str, float], step: int) -> list[str]:
        """CollapseMetrics of collapse that are new, each with the likely remedy."""
        if not self.watched:
            return []
        place, losses = self.choice.place, self.choice.losses.get(self.choice.head)
        loss = None if losses is None else float(losses[place]) / self.context.steps_per_epoch
        classes = self.choice.classifiers[place] if losses is not None or "view_entropy" in figures else 0
        return self.watch.judge(figures, loss, classes, steps=step, last=step == self.context.total_steps)

    def _uncompiled(self) -> AbstractContextManager[None]:
        """Measuring has other shapes than training: it is not worth a compilation."""
        return self.compiled.paused() if self.compiled is not None else nullcontext()
