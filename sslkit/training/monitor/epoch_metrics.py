"""Validation and collapse metrics, measured before the first step and at the end of epochs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from sslkit.training.learner import Learner
from sslkit.training.monitor.classifier_selection import ClassifierSelection
from sslkit.training.monitor.collapse_detector import CollapseDetector
from sslkit.training.monitor.collapse_metrics import CollapseMetrics
from sslkit.training.monitor.validation import ValidationMonitor


class EpochMetrics:
    """Validation and collapse metrics of a run, measured before the first step and at the end of epochs.

    Args:
        learner: the Lightning module that is trained.
        monitor: measures validation metrics, every ``monitor.every_epochs`` epochs and after the final epoch.
        selection: selects the classifier to measure.

    Attributes:
        detector: the collapse detector, whose state is saved in checkpoints.
    """

    def __init__(self, learner: Learner, monitor: ValidationMonitor, selection: ClassifierSelection) -> None:
        self.method, self.context = learner.method, learner.assembly.context
        self.last_step = learner.assembly.position.steps
        self.compiled = learner.compiled
        self.detects_collapse = learner.assembly.recipe.monitor.collapse != "off"
        self.monitor = monitor
        self.selection = selection
        self.collapse_metrics = CollapseMetrics(learner.assembly)
        self.detector = CollapseDetector()

    def measure_untrained(self) -> dict[str, float]:
        """Return the metrics of the untrained network, as a baseline for later metrics."""
        metrics: dict[str, float] = {}
        with self._uncompiled():
            if self.detects_collapse:
                metrics |= self.collapse_metrics.measure()
                self.detector.untrained_rank = metrics["effective_rank"]
            metrics |= self.monitor.measure(None)
        return metrics

    def measure(self, epoch: int) -> dict[str, float]:
        """Return the metrics that are due after an epoch (counted from 1); may be empty."""
        every = self.monitor.every
        due = bool(every) and (epoch % every == 0 or epoch == self.context.epochs)
        trained = {self.method.loss_heads[name] for name in self.method.active_losses(epoch - 1)}
        classifier = self.selection.index if self.selection.head in trained else None
        metrics: dict[str, float] = {}
        with self._uncompiled():
            # Collapse metrics are measured after every epoch: they are fast, and a collapse must be reported early.
            if self.detects_collapse or due:
                metrics |= self.collapse_metrics.measure(classifier)
            if due:
                metrics |= self.monitor.measure(classifier)
        return metrics

    def detect_collapse(self, metrics: Mapping[str, float], step: int) -> list[str]:
        """Return new warnings about symptoms of collapse in the metrics after ``step``, each with a remedy."""
        if not self.detects_collapse:
            return []
        index, losses = self.selection.index, self.selection.losses.get(self.selection.head)
        loss = None if losses is None else float(losses[index]) / self.context.steps_per_epoch
        classes = self.selection.classifiers[index] if losses is not None or "view_entropy" in metrics else 0
        return self.detector.update(metrics, loss, classes, step=step, last=step == self.last_step)

    def _uncompiled(self) -> AbstractContextManager[None]:
        """Return a context manager in which backbones run uncompiled, to avoid compiling for each batch shape."""
        return self.compiled.disabled() if self.compiled is not None else nullcontext()
