"""Method: how views, backbone, heads and losses are put together in a training step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss
from sslkit.contracts.options import Options


@dataclass(frozen=True)
class WeightedLoss:
    """A loss as the recipe combines it.

    Attributes:
        name: as its terms are logged.
        loss: the loss.
        weight: factor of its total.
        head: name of the head whose outputs it reads.
        start_epoch: epochs that have passed when it joins the sum.
    """

    name: str
    loss: Loss
    weight: float
    head: str
    start_epoch: int = 0


@dataclass(frozen=True)
class Parts:
    """The modules a recipe names, built and wired."""

    backbone: Backbone
    heads: Mapping[str, Head]
    losses: tuple[WeightedLoss, ...]


@dataclass(frozen=True)
class Batch:
    """This process's part of one global batch of views.

    Attributes:
        views: for each view group ``[V, B, C, S, S]``, global groups first.
        global_views: how many views are global.
        index: ``[B]`` int64, the images' places in the training set.
        step: optimizer steps taken so far.
        epoch: epochs completed so far.
    """

    views: tuple[Tensor, ...]
    global_views: int
    index: Tensor
    step: int
    epoch: int


@dataclass(frozen=True)
class MethodOutput:
    """A training step's result.

    Attributes:
        loss: scalar to minimise.
        terms: named scalars to log.
        per_classifier: by head name, the loss of each of its classifiers, where the losses tell.
    """

    loss: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    per_classifier: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)


class Method(Component, nn.Module):
    """Owns the trained modules, and whatever else its step needs (a momentum teacher, a predictor, masks)."""

    branches: frozenset[str] = frozenset({"student"})
    """The branches its losses will find in ``ViewOutputs``."""

    def __init__(self, options: Options, context: Context, parts: Parts) -> None:
        super().__init__()
        self.backbone = parts.backbone
        self.heads = dict(parts.heads)
        self.losses = {item.name: item.loss for item in parts.losses}
        # Registered by place: a name may be anything, also one that a module has for itself.
        self.head_modules = nn.ModuleList(self.heads.values())
        self.loss_modules = nn.ModuleList(self.losses.values())
        self.weights = {item.name: item.weight for item in parts.losses}
        self.head_of = {item.name: item.head for item in parts.losses}
        self.start_epochs = {item.name: item.start_epoch for item in parts.losses}

    @abstractmethod
    def forward(self, batch: Batch) -> MethodOutput:
        """Loss and terms of one batch; of the losses, those that have started."""

    def started(self, epoch: int) -> list[str]:
        """Names of the losses that are part of the sum once so many epochs have passed."""
        return [name for name, start in self.start_epochs.items() if epoch >= start]

    def after_backward(self, step: int) -> None:
        """Called with the gradients of optimizer step ``step`` (from 0)."""
        for head in self.heads.values():
            head.after_backward(step)

    def after_step(self) -> None:
        """Called after each optimizer step."""
        for head in self.heads.values():
            head.after_step()

    def on_weights_loaded(self) -> None:
        """Called when backbone and heads were given other weights than they were built with, before the first step."""
