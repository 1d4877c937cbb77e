"""The conformance kit: what sslkit promises of components of each kind, as tests that an author gets by subclassing.

    from sslkit.testing import LossTests

    class TestMyLoss(LossTests):
        component = MyLoss
        options = {"temperature": 0.2}

pytest collects the subclass; every method that starts with ``test_`` is one promise, and needs no fixture.  ``sslkit
plugins check`` runs the same promises on what is installed, with default options.
"""

from __future__ import annotations

from sslkit.testing.backbones import BackboneTests
from sslkit.testing.base import ComponentTests
from sslkit.testing.datasets import DatasetTests
from sslkit.testing.evaluators import EvaluatorTests
from sslkit.testing.heads import HeadTests
from sslkit.testing.losses import LossTests
from sslkit.testing.methods import MethodTests
from sslkit.testing.optimizers import OptimizerTests
from sslkit.testing.views import ViewsTests

KITS: dict[str, type[ComponentTests]] = {
    "dataset": DatasetTests,
    "view": ViewsTests,
    "backbone": BackboneTests,
    "head": HeadTests,
    "loss": LossTests,
    "method": MethodTests,
    "optimizer": OptimizerTests,
    "evaluator": EvaluatorTests,
}
"""The promises of each kind, by its singular name."""

__all__ = [
    "KITS",
    "BackboneTests",
    "ComponentTests",
    "DatasetTests",
    "EvaluatorTests",
    "HeadTests",
    "LossTests",
    "MethodTests",
    "OptimizerTests",
    "ViewsTests",
]
