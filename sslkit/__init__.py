"""Toolkit for self-supervised image learning.

``sslkit.__all__`` lists the public interface. Each name is imported on first use, so ``import sslkit`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "sslkit.contracts.options": "Options NoOptions",
    "sslkit.contracts.duration": "Duration duration_steps",
    "sslkit.contracts.context": "Context World",
    "sslkit.contracts.backbone": "Backbone Counterpart Tokens",
    "sslkit.contracts.head": "Head HeadOutput",
    "sslkit.contracts.classifiers": "ClassifierGroups",
    "sslkit.contracts.loss": "Loss LossOutput BranchOutputs ViewOutputs",
    "sslkit.contracts.positives": "Positives",
    "sslkit.contracts.preprocessing": "Preprocessing",
    "sslkit.contracts.queue": "Queue",
    "sslkit.contracts.views": "Views ViewGroup Parameters",
    "sslkit.contracts.dataset": "Dataset ImageStore Split IGNORE_INDEX",
    "sslkit.data.store": "TensorStore",
    "sslkit.data.datasets.torchvision": "TorchvisionDataset",
    "sslkit.data.datasets.digits": "Digits",
    "sslkit.data.seeds": "seeded_generator",
    "sslkit.features.neighbours": "nearest_neighbours",
    "sslkit.contracts.method": "Method MethodOutput Batch Parts WeightedLoss",
    "sslkit.methods.joint_embedding": "JointEmbedding forward_views",
    "sslkit.methods.momentum_teacher": "MomentumTeacher",
    "sslkit.contracts.optimizer": "Optimizer ParameterGroup",
    "sslkit.contracts.evaluator": "Evaluator Evaluation Features Subject CorrectedClasses",
    "sslkit.runs.evaluation_result": "EvaluationResult",
    "sslkit.api": "train resume find_run Run",
    "sslkit.components.registration": "register",
    "sslkit.trained.backbone": "load_backbone TrainedBackbone",
    "sslkit.errors": "SslkitError InputError RecipeError ComponentError OptionError DataError RunError TrainingError "
    "NotSavedError",
}
"""Public names that each module provides."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'sslkit' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
