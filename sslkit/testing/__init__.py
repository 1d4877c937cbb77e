"""Conformance tests: test classes that check a component against the contract of its kind.

In the tests of your plugin, subclass the test class for the kind of your component::

    from sslkit.testing import LossTests

    class TestMyLoss(LossTests):
        component = MyLoss
        options = {"temperature": 0.2}

pytest runs every method whose name starts with ``test_``. ``sslkit plugins check`` runs the same tests on installed
components, with the options from ``check_options`` or default options.
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
from sslkit.testing.positives import PositivesTests
from sslkit.testing.views import ViewsTests

KITS: dict[str, type[ComponentTests]] = {
    "dataset": DatasetTests,
    "view": ViewsTests,
    "backbone": BackboneTests,
    "positive": PositivesTests,
    "head": HeadTests,
    "loss": LossTests,
    "method": MethodTests,
    "optimizer": OptimizerTests,
    "evaluator": EvaluatorTests,
}
"""Mapping from kind of component, such as ``loss``, to its test class."""

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
    "PositivesTests",
    "ViewsTests",
]
