"""Toolkit for self-supervised image learning.

``sslkit.__all__`` is the public interface. Each name is imported at its first use, so ``import sslkit`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "Options": "sslkit.contracts.options",
    "NoOptions": "sslkit.contracts.options",
    "Context": "sslkit.contracts.context",
    "World": "sslkit.contracts.context",
    "Backbone": "sslkit.contracts.backbone",
    "Counterpart": "sslkit.contracts.backbone",
    "Head": "sslkit.contracts.head",
    "HeadOutput": "sslkit.contracts.head",
    "Loss": "sslkit.contracts.loss",
    "LossOutput": "sslkit.contracts.loss",
    "BranchOutputs": "sslkit.contracts.loss",
    "ViewOutputs": "sslkit.contracts.loss",
    "Queue": "sslkit.contracts.queue",
    "Views": "sslkit.contracts.views",
    "ViewGroup": "sslkit.contracts.views",
    "Parameters": "sslkit.contracts.views",
    "Dataset": "sslkit.contracts.dataset",
    "ImageStore": "sslkit.contracts.dataset",
    "Split": "sslkit.contracts.dataset",
    "IGNORE_INDEX": "sslkit.contracts.dataset",
    "TensorStore": "sslkit.data.store",
    "TorchvisionDataset": "sslkit.data.datasets.torchvision",
    "Digits": "sslkit.data.datasets.digits",
    "seeded_generator": "sslkit.data.seeds",
    "Method": "sslkit.contracts.method",
    "MethodOutput": "sslkit.contracts.method",
    "Batch": "sslkit.contracts.method",
    "Parts": "sslkit.contracts.method",
    "WeightedLoss": "sslkit.contracts.method",
    "JointEmbedding": "sslkit.methods.joint_embedding",
    "forward_views": "sslkit.methods.joint_embedding",
    "Optimizer": "sslkit.contracts.optimizer",
    "ParameterGroup": "sslkit.contracts.optimizer",
    "Evaluator": "sslkit.contracts.evaluator",
    "Evaluation": "sslkit.contracts.evaluator",
    "EvaluationResult": "sslkit.runs.evaluation_result",
    "Features": "sslkit.contracts.evaluator",
    "Subject": "sslkit.contracts.evaluator",
    "train": "sslkit.api",
    "resume": "sslkit.api",
    "find_run": "sslkit.api",
    "Run": "sslkit.api",
    "register": "sslkit.components.registration",
    "load_backbone": "sslkit.trained.backbone",
    "TrainedBackbone": "sslkit.trained.backbone",
    "SslkitError": "sslkit.errors",
    "InputError": "sslkit.errors",
    "RecipeError": "sslkit.errors",
    "ComponentError": "sslkit.errors",
    "OptionError": "sslkit.errors",
    "DataError": "sslkit.errors",
    "RunError": "sslkit.errors",
    "TrainingError": "sslkit.errors",
    "NotSavedError": "sslkit.errors",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'sslkit' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
