"""Published figures to compare runs with, as fractions of 1, and the settings they were obtained with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Stated:
    """What a publication states of a value, where that is not the value itself.

    Attributes:
        words: as a sentence shows it.
        holds: whether a value is so.
    """

    words: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Row:
    """One published row.

    Attributes:
        label: as the publication calls it.
        figures: by name, as ``measured`` names them.
        settings: by recipe key, what the publication states: a value or ``Stated``.
    """

    label: str
    figures: Mapping[str, float]
    settings: Mapping[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """How the figures are called without their last word, such as ``finetune 10 %``."""
        return tuple(dict.fromkeys(name.rpartition(" ")[0] for name in self.figures))


@dataclass(frozen=True)
class Reference:
    """A publication's rows.

    Attributes:
        source: what was published where.
        protocol: how its figures were obtained.
        rows: the rows.
        evaluations: by evaluator and key of its protocol, what the publication states: a value or ``Stated``.
        also: figures of another protocol that a published one is shown beside, and the published one's name.
    """

    source: str
    protocol: str
    rows: tuple[Row, ...]
    evaluations: Mapping[str, Mapping[str, Any]]
    also: Mapping[str, str] = field(default_factory=dict)

    def beside(self, known: Collection[str]) -> list[Row]:
        """The rows that share a figure with those that are known, or all; a figure stands where there is one to it."""
        rows = []
        for row in self.rows:
            figures = dict(row.figures)
            for other, name in self.also.items():
                if other in known and name in figures:
                    figures[other] = figures[name] if name in known else figures.pop(name)
            rows.append(replace(row, figures=figures))
        return [row for row in rows if row.figures.keys() & known] or rows


SOME = Stated("above 0", lambda found: isinstance(found, (int, float)) and found > 0)

ALL_TRAIN = Stated("50000, as nothing is said of a part held out,", lambda found: found == 50_000)

TRAINED_PROBE = Stated(
    "one linear layer, trained for 100 epochs by SGD with LARS, cosine, in batches of 64,", lambda _: False
)


def _clusters(nmi: float, ami: float, ari: float, acc: float, **more: float) -> dict[str, float]:
    return {"cluster acc": acc, "cluster nmi": nmi, "cluster ami": ami, "cluster ari": ari, **more}


def _self_classifier(backbone: str, hidden: list[int], epochs: int, before: int = 0) -> dict[str, Any]:
    return {
        "data.use": "cifar10",
        "backbone.use": backbone,
        "head.use": "selfcls-mlp",
        "head.hidden_dims": hidden,
        "head.embedding_dim": 128,
        "head.classifiers": [10],
        "loss.use": "selfcls",
        "loss.row_temperature": 0.1,
        "loss.column_temperature": 0.05,
        "optimizer.use": "lars",
        "optimizer.schedule": "cosine",
        "train.epochs": epochs,
        "train.batch_size": 64,
        "continued_from.epochs": before,
    }


def _swav(jitter: Any) -> dict[str, Any]:
    return {
        "data.use": "cifar100",
        "views.use": "flip",
        "views.views": 2,
        "views.flip_p": SOME,
        "views.jitter_p": jitter,
        "backbone.use": "resnet18",
        "head.use": "swav",
        "head.hidden_dim": "linear",
        "head.embedding_dim": 128,
        "head.prototypes": [3000],
        "loss.use": "swav",
        "optimizer.lr": 0.001,
        "train.epochs": 100,
        "train.batch_size": 256,
        "continued_from.epochs": 0,
    }


def _fractions(*rows: tuple[str, float, float]) -> dict[str, float]:
    return {
        f"finetune {part} % {k}": value for part, *both in rows for k, value in zip(("top1", "top5"), both, strict=True)
    }


REFERENCES: dict[str, Reference] = {
    "report-a": Reference(
        source='"An analysis of self-supervised classification network" (KTH): Self-Classifier on CIFAR-10',
        protocol="test images; ACC one-to-one; linear probe: 100 epochs, SGD with LARS, batches of 64",
        rows=(
            Row(
                "ResNet-18, 1 hidden layer",
                _clusters(0.611, 0.610, 0.505, 0.687, **{"linear-sgd top1": 0.8789}),
                _self_classifier("resnet18", [], 100),
            ),
            Row(
                "ResNet-18, 2 hidden layers",
                _clusters(0.603, 0.602, 0.499, 0.679),
                _self_classifier("resnet18", [4096], 100),
            ),
            Row(
                "AlexNet, 2 hidden layers",
                _clusters(0.419, 0.418, 0.284, 0.465),
                _self_classifier("alexnet", [4096], 100),
            ),
            Row(
                "AlexNet, continued",
                _clusters(0.488, 0.487, 0.347, 0.520),
                _self_classifier("alexnet", [4096], 200, 100),
            ),
        ),
        evaluations={
            "cluster": {"split": "test", "images": 10_000, "clusters": 10, "assigned_by": "argmax of logits"},
            "linear": {"split": "test", "images": 10_000, "train_images": ALL_TRAIN, "probe": TRAINED_PROBE},
            "linear-sgd": {
                "split": "test",
                "images": 10_000,
                "train_images": ALL_TRAIN,
                "epochs": 100,
                "batch_size": 64,
            },
        },
        also={"linear top1": "linear-sgd top1"},
    ),
    "report-b": Reference(
        source='"Self-supervised learning for an image classification task" (Yonsei): SwAV on CIFAR-100',
        protocol="test images; fine-tuned with a part of the labels; epochs and learning rates of that are not stated",
        rows=(
            Row(
                "augmentation 1: flip, colour jitter",
                _fractions(
                    ("1", 0.0292, 0.1179), ("10", 0.1542, 0.3682), ("30", 0.2785, 0.5195), ("40", 0.3115, 0.5584)
                ),
                _swav(SOME),
            ),
            Row(
                "augmentation 2: flip",
                _fractions(
                    ("1", 0.0472, 0.1622), ("10", 0.1869, 0.4144), ("30", 0.2944, 0.5521), ("40", 0.3379, 0.5873)
                ),
                _swav(0.0),
            ),
        ),
        evaluations={"finetune": {"split": "test", "images": 10_000, "train_images": ALL_TRAIN}},
    ),
}
"""By the name that ``sslkit compare --reference`` takes."""
