"""The frozen network of a finished run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from sslkit.assembly.build_network import build_network
from sslkit.contracts.head import Head
from sslkit.data.seeds import seed_global
from sslkit.device.allocator import retain_freed_memory
from sslkit.device.hardware import prefers_channels_last
from sslkit.features.frozen import FrozenBackbone
from sslkit.runs.run import Run
from sslkit.runs.weights import load_weights
from sslkit.runs.weights_metadata import (
    context_from_metadata,
    preprocessing_from_metadata,
    read_backbone_metadata,
    read_head_metadata,
)
from sslkit.trained.installed_versions import load_trained_recipe
from sslkit.trained.starting_weights import load_starting_weights

NetworkWeights = Literal["trained", "random", "start"]
"""Weights of a run's network: after training, random, or those that training started from."""


class TrainedNetwork:
    """Backbone and head of a run, in eval mode and without gradients.

    Args:
        run: a finished run.
        device: device to move the network to.
        weights: ``trained``, ``random``, or ``start`` for the weights that training started from. With ``start``, the
            network has a head only if the run continues another run.

    Attributes:
        run: the run.
        metadata: metadata of the backbone's weights file.
        recipe: the part of the recipe that describes the network.
        notes: sentences about components whose installed version differs from the run's version.
        context: the ``Context`` of the training run.
        backbone: the backbone.
        preprocessing: preparation of images for the backbone.
        frozen: the ``FrozenBackbone``, which computes features and caches them.
        head: the head, or None if the run or the weights have no head, or the head is not installed.
        head_name: name of the head, or ``""`` if there is none.
        classifier: index of the head's classifier that evaluation uses.
        classes: number of classes of this classifier; 0 if there is none.
        temperature: temperature of the class probabilities softmax(logits / temperature), or None if the loss defines
            none.
        origin: where the weights come from, if they are those that training started from; else empty.

    Raises:
        InputError: ``weights`` is ``start``, but training started from random weights, or the weights cannot be loaded.
        RunError: the run has not finished, or its files are damaged.
        RecipeError: the data set or the backbone is not installed or has invalid options.
    """

    def __init__(self, run: Run, device: str, *, weights: NetworkWeights = "trained") -> None:
        self.run = run
        self.metadata = read_backbone_metadata(run.backbone)
        self.recipe, self.notes = load_trained_recipe(run)
        seed_global(self.recipe.run.seed)
        # restoring=True skips downloads of pretrained weights, also for the baseline with random weights.
        context = context_from_metadata(self.metadata["context"], restoring=True)
        built, backbone, heads = build_network(self.recipe, context)
        # A view policy may use its own normalisation instead of the data set's statistics.
        self.context = replace(built, mean=tuple(self.metadata["mean"]), std=tuple(self.metadata["std"]))
        self.origin = ""
        head_weights = run.heads
        if weights == "trained":
            load_weights(backbone, run.backbone)
        elif weights == "start":
            self.origin, parent = load_starting_weights(run, self.recipe, backbone)
            if parent is None:
                heads = {}
            else:
                head_weights = parent.heads
        if prefers_channels_last(device):
            backbone = backbone.to(memory_format=torch.channels_last)
        retain_freed_memory(device)
        self.backbone = backbone.to(device).eval().requires_grad_(False)
        self.preprocessing = preprocessing_from_metadata(self.metadata)
        self.frozen = FrozenBackbone(self.backbone, self.preprocessing, self.recipe.backbone.identity)
        self.head: Head | None = None
        self.head_name, self.classifier, self.classes = "", 0, 0
        self.temperature: float | None = None
        if heads:
            metadata = read_head_metadata(head_weights, heads)
            if weights != "random":
                load_weights(nn.ModuleList(heads.values()), head_weights)
            self.head_name, self.classifier = metadata["head"], metadata["classifier"]
            self.head = heads[self.head_name].to(device).eval().requires_grad_(False)
            self.classes = self.head.classifiers[self.classifier] if self.head.classifiers else 0
            self.temperature = metadata.get("logit_temperature")

    @property
    def identity(self) -> dict[str, Any]:
        """Versions and options of the backbone and the head. Predictions are resumed only if these are unchanged."""
        heads = [head.identity for head in self.recipe.heads if head.name == self.head_name]
        return {"backbone": self.recipe.backbone.identity, "head": heads[0] if heads else None}
