"""Evaluator: a trained backbone to metrics, with the protocol they were obtained by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import Split
from sslkit.contracts.options import Options

Requirement = Literal["labels", "test"]


@dataclass(frozen=True)
class Features:
    """What the frozen backbone, and the head where the run has one, make of a split.

    Attributes:
        features: ``[N, D]`` float32.
        labels: ``[N]`` int64, or None.
        logits: ``[N, K]`` of the classifier that evaluation uses, or None.
    """

    features: Tensor
    labels: Tensor | None
    logits: Tensor | None = None


class Subject(Protocol):
    """What an evaluator examines."""

    @property
    def seed(self) -> int:
        """The run's seed."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order; empty without labels."""

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the classes of pixels; empty where the data have no masks."""

    @property
    def discovered_names(self) -> tuple[str, ...]:
        """Names that somebody gave to the classes of the run's classifier, ``""`` for those without; empty where
        nobody named any."""

    @property
    def temperature(self) -> float:
        """The classes' probabilities are softmax(logits / temperature); 1 where the run does not tell."""

    @property
    def other_data(self) -> str:
        """Name of the data set where it is another than the run was trained on; else empty."""

    @property
    def untrained(self) -> bool:
        """Whether the network is as it was initialised: a baseline."""

    @property
    def context(self) -> Context:
        """Runtime facts of the training: image size, channels, normalisation."""

    def features(self, split: str) -> Features:
        """Features of ``train``, ``validation`` or ``test``; computed once and cached."""

    def split(self, split: str) -> Split:
        """The images of a split; ``train`` and ``validation`` never overlap."""

    def backbone(self) -> Backbone:
        """The frozen backbone, in eval mode; to train one, train a copy."""


@dataclass(frozen=True)
class Evaluation:
    """Figures, and how they came about.

    Attributes:
        metrics: fractions of 1 unless their name says otherwise.  ``curves`` is a list with a mapping of numbers for
            each epoch of an evaluator's training; in a report those whose names end alike, such as ``train_loss`` and
            ``validation_loss``, share a chart.
        protocol: everything that the metrics depend on.
        baselines: metrics of something simpler, by its name.
    """

    metrics: Mapping[str, Any]
    protocol: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Evaluator(Component, ABC):
    """Measures a frozen backbone, or trains a copy of it; chooses nothing on test."""

    needs: ClassVar[frozenset[Requirement]] = frozenset({"labels", "test"})
    """What the data set must have: test images, and labels on them; checked before anything is computed."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def evaluate(self, subject: Subject) -> Evaluation:
        """The metrics."""
