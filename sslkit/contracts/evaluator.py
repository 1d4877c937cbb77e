"""Evaluator: measures a trained backbone and returns metrics with their protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from torch import Tensor

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import Split
from sslkit.contracts.needs import EvaluatorNeed
from sslkit.contracts.options import Options


@dataclass(frozen=True)
class Features:
    """Outputs of the frozen backbone and head for a split.

    Attributes:
        features: ``[N, D]`` float32.
        labels: ``[N]`` int64, or None.
        logits: ``[N, K]`` of the run's classifier, or None without one.
    """

    features: Tensor
    labels: Tensor | None
    logits: Tensor | None = None


class Subject(Protocol):
    """The run that an evaluator measures."""

    @property
    def seed(self) -> int:
        """The run's seed."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order; empty without labels."""

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the pixel classes; empty without masks."""

    @property
    def discovered_names(self) -> tuple[str, ...]:
        """Names that the user gave to the discovered classes, ``""`` for those without; empty if no class has one."""

    @property
    def temperature(self) -> float:
        """Class probabilities are softmax(logits / temperature); 1 if the run does not define it."""

    @property
    def other_data(self) -> str:
        """Name of the data set if it is not the one that the run was trained on; else empty."""

    @property
    def untrained(self) -> bool:
        """Whether the network has random weights, as a baseline."""

    @property
    def context(self) -> Context:
        """Runtime facts of the training: image size, channels, normalisation."""

    def features(self, split: str) -> Features:
        """Return the features of ``train``, ``validation`` or ``test``; computed once and cached."""

    def split(self, split: str) -> Split:
        """Return the images of a split; ``train`` and ``validation`` never overlap."""

    def backbone(self) -> Backbone:
        """Return the frozen backbone, in eval mode; train only a copy of it."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics, the protocol they were measured with, and baselines.

    Attributes:
        metrics: metrics by name; scores are in [0, 1]. ``curves``, if present, has a mapping of numbers for each epoch
            of the evaluator's training. In a report, curves with the same last word, such as ``train_loss`` and
            ``validation_loss``, share a chart.
        protocol: every setting that the metrics depend on; ``split`` is required.
        baselines: metrics of simpler methods, by name of the baseline. ``random_weights`` is reserved.

    All values are saved as JSON: finite Python numbers, strings, booleans, None, and lists and mappings of these.
    ``float(value)`` converts a scalar of numpy or torch. Only numbers in ``curves`` may be NaN or infinite.
    """

    metrics: Mapping[str, Any]
    protocol: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Evaluator(Component, ABC):
    """Measures a frozen backbone, or trains a copy of it; makes no choice on the test split."""

    needs: ClassVar[frozenset[EvaluatorNeed]] = frozenset({"labels", "test"})
    """What the data set must have, checked before the evaluation.

    ``"test"``: test images. ``"labels"``: labels of the test images; without ``"test"``, labels of the training or the
    validation images.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def evaluate(self, subject: Subject) -> Evaluation:
        """Evaluate the subject."""
