"""The network of a finished run, frozen, as everything that uses it sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sslkit.assembly.build_network import build_network
from sslkit.contracts.head import Head
from sslkit.data.seeds import seed_global
from sslkit.device.allocator import retain_freed_memory
from sslkit.device.hardware import prefers_channels_last
from sslkit.runs.run import Run
from sslkit.runs.weights import load_weights
from sslkit.runs.weights_metadata import context_from_metadata, read_backbone_metadata, read_head_metadata
from sslkit.trained.installed_versions import load_trained_recipe


class TrainedNetwork:
    """A run's backbone, and its head with the classifier that evaluation uses, in eval mode and without gradients.

    Args:
        run: a finished run.
        device: where the network is.
        untrained: with random weights, in place of trained ones.

    Attributes:
        run: the run.
        metadata: what stands beside the backbone's weights.
        recipe: what is needed of the recipe.
        notes: what is installed otherwise than when the run was trained, in sentences.
        context: runtime facts of the training.
        backbone: the backbone.
        head: the head; None where the run has none, or none that is installed.
        head_name: its name; empty without one.
        classifier: place of the classifier in the head.
        classes: K of that classifier; 0 where there is none.
        temperature: the classes' probabilities are softmax(logits / temperature); None where the run does not tell.

    Raises:
        RunError: the run has not finished, or its files are damaged.
        RecipeError: a component it needs is not installed.
    """

    def __init__(self, run: Run, device: str, *, untrained: bool = False) -> None:
        self.run = run
        self.metadata = read_backbone_metadata(run.backbone)
        self.recipe, self.notes = load_trained_recipe(run)
        seed_global(self.recipe.run.seed)
        # Also of an untrained network: random weights are to be the floor, not ones that somebody else trained.
        context = context_from_metadata(self.metadata["context"], restoring=True)
        built, backbone, heads = build_network(self.recipe, context)
        # A view policy may have normalised otherwise than the data set's statistics say.
        self.context = replace(built, mean=tuple(self.metadata["mean"]), std=tuple(self.metadata["std"]))
        if not untrained:
            load_weights(backbone, run.backbone)
        if prefers_channels_last(device):
            backbone = backbone.to(memory_format=torch.channels_last)
        retain_freed_memory(device)
        self.backbone = backbone.to(device).eval().requires_grad_(False)
        self.head: Head | None = None
        self.head_name, self.classifier, self.classes = "", 0, 0
        self.temperature: float | None = None
        if heads:
            chosen = read_head_metadata(run.heads, heads)
            if not untrained:
                load_weights(nn.ModuleList(heads.values()), run.heads)
            self.head_name, self.classifier = chosen["head"], chosen["classifier"]
            self.head = heads[self.head_name].to(device).eval().requires_grad_(False)
            self.classes = self.head.classifiers[self.classifier] if self.head.classifiers else 0
            self.temperature = chosen.get("logit_temperature")

    @property
    def identity(self) -> dict[str, Any]:
        """Backbone and head with versions and options: what values depend on and weights need not show."""
        parts = (self.recipe.backbone, *(head for head in self.recipe.heads if head.name == self.head_name))
        return {
            "components": [f"{part.entry.qualified} {part.entry.version}" for part in parts],
            "options": [part.options.model_dump(mode="json") for part in parts],
        }
