"""Contract of an evaluator, which evaluates a trained backbone and returns metrics with their protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from torch import Tensor

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.component import Component, EvaluatorNeed
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import Split
from sslkit.contracts.options import Options


@dataclass(frozen=True)
class Features:
    """Outputs of the frozen backbone and head for the N images of a split.

    Attributes:
        features: float32 tensor ``[N, D]``.
        labels: int64 tensor ``[N]``, or None if there are no labels.
        logits: tensor ``[N, K]``, output of the run's selected classifier, or None if there is no classifier.
    """

    features: Tensor
    labels: Tensor | None
    logits: Tensor | None = None


OUTLIER, IGNORED = -1, -2
"""Class numbers of the images that a user marked as outliers or as ignored."""


@dataclass(frozen=True)
class CorrectedClasses:
    """Classes of the N images of a split after a user corrected images and merged classes in ``sslkit explore``.

    Attributes:
        assigned: int64 tensor ``[N]`` with class numbers; -1 for images marked as outliers, -2 for ignored images.
            Discovered classes have the numbers 0 to K - 1, added classes larger ones. Classes with the same name are
            one class, which has the smallest of their numbers.
        confidence: float64 tensor ``[N]``, probability of the discovered class, summed over merged classes.
        corrected: bool tensor ``[N]``, whether the user corrected the image.
        names: name of each named class, keyed by number.
        images: number of images of all splits that the user corrected.
    """

    assigned: Tensor
    confidence: Tensor
    corrected: Tensor
    names: Mapping[int, str]
    images: int


class Subject(Protocol):
    """The run to evaluate: its trained network and its images, as an evaluator receives them."""

    @property
    def seed(self) -> int:
        """Seed of the run."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names, in order of label, or an empty tuple if there are no labels."""

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the pixel classes, in order of mask value, or an empty tuple if there are no masks."""

    @property
    def discovered_names(self) -> tuple[str, ...]:
        """Name that the user gave each discovered class (``""`` for none), or an empty tuple if no class has a name."""

    @property
    def temperature(self) -> float:
        """Temperature of the class probabilities softmax(logits / temperature); 1 if the loss defines none."""

    @property
    def other_data(self) -> str:
        """Name of the evaluated data set if it is not the run's own data set; else empty."""

    @property
    def untrained(self) -> bool:
        """Whether the network has random weights, to measure a baseline."""

    @property
    def context(self) -> Context:
        """Facts about the training run, such as image size, channels and normalisation."""

    def features(self, split: str) -> Features:
        """Return the features of the split ``train``, ``validation`` or ``test``, computed on the first call."""

    def split(self, split: str) -> Split:
        """Return the images of a split; ``train`` and ``validation`` never share images."""

    def corrected_classes(self, split: str) -> CorrectedClasses | None:
        """Return a split's classes after the user's corrections, or None if there are no corrections and no merges.

        Also None if the network has no classifier, and for baselines.

        Report metrics with corrections in addition to those without, never instead of them.
        """

    def backbone(self) -> Backbone:
        """Return the frozen backbone in eval mode. Copy the backbone before training it."""


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluator: metrics, their protocol (settings), and baselines.

    Attributes:
        metrics: mapping from name to metric; scores are in [0, 1]. An evaluator that trains a model may add the key
            ``curves``: a list with a mapping from name to number for each epoch. In a report, curves whose names end
            with the same word, such as ``train_loss`` and ``validation_loss``, share a chart.
        protocol: mapping with every setting that the metrics depend on; the key ``split`` is required.
        baselines: mapping from the name of a simpler method to the metrics of this method. The names
            ``random_weights`` and ``pretrained_weights`` are reserved.

    All values must be finite Python numbers, strings, booleans or None, or lists and mappings of such values, because
    sslkit saves them as JSON. Convert numpy and torch scalars with ``float(value)``. Only numbers in ``curves`` may be
    NaN or infinite.
    """

    metrics: Mapping[str, Any]
    protocol: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Evaluator(Component, ABC):
    """Base class of evaluators, which compute metrics of a frozen backbone or of a trained copy of the backbone.

    An evaluator must not use the test split to select hyper-parameters or models.
    """

    needs: ClassVar[frozenset[EvaluatorNeed]] = frozenset({"labels", "test"})
    """What the data set must provide; checked before the evaluation.

    ``"test"`` requires test images. ``"labels"`` requires labels of the test images or, without ``"test"``, labels of
    the training or validation images.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def evaluate(self, subject: Subject) -> Evaluation:
        """Evaluate a run and return metrics, protocol and baselines."""
