"""Published figures to compare runs with, as fractions of 1, and the settings they were obtained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One published row.

    Attributes:
        label: as the publication calls it.
        figures: by name, as ``figures_of`` names them.
        settings: by recipe key, what the publication states.
    """

    label: str
    figures: Mapping[str, float]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Reference:
    """A publication's rows.

    Attributes:
        source: what was published where.
        protocol: how its figures were obtained.
        rows: the rows.
    """

    source: str
    protocol: str
    rows: tuple[Row, ...]


def _clusters(nmi: float, ami: float, ari: float, acc: float, **more: float) -> dict[str, float]:
    return {"cluster acc": acc, "cluster nmi": nmi, "cluster ami": ami, "cluster ari": ari, **more}


def _self_classifier(backbone: str, hidden: list[int], epochs: int) -> dict[str, Any]:
    return {
        "data.use": "cifar10",
        "backbone.use": backbone,
        "head.hidden_dims": hidden,
        "train.epochs": epochs,
        "train.batch_size": 64,
    }


def _fractions(*rows: tuple[str, float, float]) -> dict[str, float]:
    return {
        f"finetune {part} % {k}": value for part, *both in rows for k, value in zip(("top1", "top5"), both, strict=True)
    }


_SWAV = {"data.use": "cifar100", "backbone.use": "resnet18", "train.epochs": 100, "train.batch_size": 256}

REFERENCES: dict[str, Reference] = {
    "report-a": Reference(
        source='"An analysis of self-supervised classification network" (KTH): Self-Classifier on CIFAR-10',
        protocol="test images; ACC one-to-one; linear probe: 100 augmented epochs, SGD with LARS, batches of 64",
        rows=(
            Row(
                "ResNet-18, 1 hidden layer",
                _clusters(0.611, 0.610, 0.505, 0.687, **{"linear-report top1": 0.8789}),
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
            Row("AlexNet, continued", _clusters(0.488, 0.487, 0.347, 0.520), _self_classifier("alexnet", [4096], 200)),
        ),
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
                _SWAV,
            ),
            Row(
                "augmentation 2: flip",
                _fractions(
                    ("1", 0.0472, 0.1622), ("10", 0.1869, 0.4144), ("30", 0.2944, 0.5521), ("40", 0.3379, 0.5873)
                ),
                _SWAV,
            ),
        ),
    ),
}
"""By the name that ``sslkit compare --reference`` takes."""
