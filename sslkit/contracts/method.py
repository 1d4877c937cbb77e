"""Contract of a method, the module that combines backbone, heads and losses into a training step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.component import Component, MethodNeed
from sslkit.contracts.context import Context
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss
from sslkit.contracts.options import Options
from sslkit.contracts.schedule import as_tensors
from sslkit.contracts.views import ViewLimits


@dataclass(frozen=True)
class WeightedLoss:
    """A loss with its settings from the recipe.

    Attributes:
        name: name of the loss; prefix of the terms that it logs.
        loss: the loss module.
        weight: float >= 0, multiplier of the loss in the total loss.
        head: name of the head whose outputs the loss reads.
        start_epoch: int, epoch from which the loss is part of the total loss, counted from 0.
    """

    name: str
    loss: Loss
    weight: float
    head: str
    start_epoch: int = 0


@dataclass(frozen=True)
class Parts:
    """The modules that a method combines.

    Attributes:
        backbone: the backbone.
        heads: mapping from name to head.
        losses: the losses with their settings, or an empty tuple for a method with its own objective.
    """

    backbone: Backbone
    heads: Mapping[str, Head]
    losses: tuple[WeightedLoss, ...]


@dataclass(frozen=True)
class Batch:
    """Input of a method: this process's part of a global batch of views.

    Attributes:
        views: tuple of tensors ``[V, B, C, S, S]``, one for each group of V views with side S, global groups first.
        global_views: int, number of global views over all groups.
        index: int64 tensor ``[B]``, the index of each image in the training set.
        step: int, number of completed steps, from 0 to ``context.total_steps - 1``; see ``Context.step_offset``.
        epoch: int, number of completed epochs.
        scheduled: mapping from name to a tensor on the device, the values of ``Method.all_scheduled`` in this step.
    """

    views: tuple[Tensor, ...]
    global_views: int
    index: Tensor
    step: int
    epoch: int
    scheduled: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def global_groups(self) -> tuple[Tensor, ...]:
        """The global views, without local views: one tensor ``[V, B, C, S, S]`` for each size S."""
        groups, count = [], self.global_views
        for views in self.views:
            if count > 0:
                groups.append(views[:count])
                count -= len(views)
        return tuple(groups)

    def scheduled_of(self, loss: str) -> dict[str, Tensor]:
        """Return the scheduled values of the loss named ``loss``."""
        prefix = f"{loss}/"
        return {name.removeprefix(prefix): value for name, value in self.scheduled.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class MethodOutput:
    """Output of a method.

    Attributes:
        loss: scalar tensor to minimise.
        terms: mapping from name to a scalar tensor without gradient, to log.
        per_classifier: mapping from head name to a tuple with the scalar loss of each classifier. Heads without
            a loss for each classifier are left out.
    """

    loss: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    per_classifier: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)


class Method(Component, ViewLimits, nn.Module):
    """Base class of methods: modules that compute the training loss of a batch of views.

    A method owns the backbone, the heads, the losses and any other module that a training step needs, such as a
    momentum teacher. Subclass ``sslkit.JointEmbedding`` to change only the branches. Subclass ``Method`` to write the
    whole step. A method with an objective of its own sets ``own_objective = True``, and recipes then have no
    ``[[loss]]``::

        class Rotation(sslkit.Method):
            api = 2
            own_objective = True
            needs = frozenset({"images"})

            def __init__(self, options, context, parts):
                super().__init__(options, context, parts)
                self.classifier = nn.Linear(context.feature_dim, 4)

            def forward(self, batch):
                turned = torch.cat([batch.views[0][0].rot90(turns, (2, 3)) for turns in range(4)])
                target = torch.arange(4, device=turned.device).repeat_interleave(len(batch.index))
                logits = self.classifier(self.backbone(turned))
                return sslkit.MethodOutput(torch.nn.functional.cross_entropy(logits, target))

    Draw random numbers of a step in ``scheduled``, with ``sslkit.seeded_generator`` and ``Context.own_images``, so that
    they are the same for any number of processes and after resuming.

    A step must call each head at most once, with the features of all views, so that BatchNorm normalises all views
    together. ``sslkit.forward_views`` follows this rule.

    Attributes:
        own_objective: bool, whether ``forward`` computes its own loss. The recipe then must not have ``[[loss]]``.
            Default: False.
        needs: frozenset, names of what the method reads. Before training, sslkit checks that the recipe provides all of
            them. Default: empty.

            - ``"images"``: pixels of the views, so the backbone must not be frozen.
            - ``"tokens"``: ``Backbone.tokens``, and pixels.
            - ``"feature_maps"``: ``Backbone.feature_maps``, and pixels.
            - ``"fixed_size"``: all views have the size ``context.view_size``.
            - ``"embeddings"``, ``"logits"``: outputs of the recipe's heads. Only for methods with their own objective;
              other methods pass these outputs to losses.
        min_views: int, smallest number of views of each image that the method works with, including the views of its
            positives. Before training, sslkit checks that the recipe makes enough views. Default: 1.
        max_views: int, largest number of views that the method works with. A method of exactly two views sets both
            ``min_views`` and ``max_views`` to 2. Default: None, no limit.
        min_global_views: int, smallest number of global views that the method works with. Default: 1.
        global_views_only: bool, whether the method reads only global views. ``Batch``, ``context.view_count``,
            ``min_views`` and ``max_views`` then ignore local views. Default: False.
        syncs_device: bool, whether each step copies values from the device to the host, which slows training. Default:
            False.
        logit_temperature: float > 0, temperature of the class probabilities softmax(logits / logit_temperature), for
            methods with their own objective that train logits. Default: 1.
        branches: frozenset of str, names of the branches in the ``ViewOutputs`` that losses receive. Default:
            ``{"student"}``.
        backbone: the ``Backbone`` that is monitored during training and saved afterwards.
        heads: dict from name to ``Head``, in the order of the recipe.
        losses: dict from name to ``Loss``, in the order of the recipe.
        head_modules: ``nn.ModuleList`` of the heads, which registers their parameters.
        loss_modules: ``nn.ModuleList`` of the losses, which registers their parameters.
        loss_weights: dict from loss name to the loss's weight in the total loss, a float >= 0.
        loss_heads: dict from loss name to the name of the head that the loss reads.
        start_epochs: dict from loss name to the epoch, counted from 0, from which the loss is part of the total loss.
        steps_per_epoch: int, optimizer steps in an epoch.
    """

    own_objective: ClassVar[bool] = False
    needs: ClassVar[frozenset[MethodNeed]] = frozenset()
    syncs_device: ClassVar[bool] = False
    logit_temperature: float = 1.0
    branches: frozenset[str] = frozenset({"student"})

    def __init__(self, options: Options, context: Context, parts: Parts) -> None:
        super().__init__()
        self.backbone: Backbone = parts.backbone
        self.heads: dict[str, Head] = dict(parts.heads)
        self.losses: dict[str, Loss] = {item.name: item.loss for item in parts.losses}
        # ModuleList instead of ModuleDict, because a name in a recipe may equal an attribute of nn.Module.
        self.head_modules: nn.ModuleList = nn.ModuleList(self.heads.values())
        self.loss_modules: nn.ModuleList = nn.ModuleList(self.losses.values())
        self.loss_weights: dict[str, float] = {item.name: item.weight for item in parts.losses}
        self.loss_heads: dict[str, str] = {item.name: item.head for item in parts.losses}
        self.start_epochs: dict[str, int] = {item.name: item.start_epoch for item in parts.losses}
        self.steps_per_epoch: int = context.steps_per_epoch

    @abstractmethod
    def forward(self, batch: Batch) -> MethodOutput:
        """Return the loss of a batch, and the terms to log.

        The loss is the weighted sum of the losses in ``active_losses(batch.epoch)``, or the method's own objective.
        """

    def active_losses(self, epoch: int) -> list[str]:
        """Return the names of the losses that are part of the total loss after ``epoch`` completed epochs."""
        return [name for name, start in self.start_epochs.items() if epoch >= start]

    def __call__(self, *args: Any, **kwargs: Any) -> MethodOutput:
        (batch,) = args
        if self.global_views_only:
            batch = replace(batch, views=batch.global_groups)
        if not batch.scheduled:
            batch = replace(batch, scheduled=as_tensors(self.all_scheduled(batch.step), batch.index.device))
        output: MethodOutput = super().__call__(batch, **kwargs)
        return output

    def phase(self, step: int) -> Hashable:
        """Return the phase of training in step ``step``; see ``Loss.phase``.

        The default value changes when a loss starts, and when the phase of a head or of a started loss changes. If your
        method has phases of its own, return them together with ``super().phase(step)``.
        """
        active = self.active_losses(step // self.steps_per_epoch)
        heads = tuple(head.phase(step) for head in self.heads.values())
        return tuple(active), heads, tuple(self.losses[name].phase(step) for name in active)

    def scheduled(self, step: int) -> Mapping[str, float | Tensor]:
        """Return the method's values for step ``step`` that change in every step, such as a teacher's momentum.

        ``forward`` reads the values from ``batch.scheduled``, as tensors on the device; see ``Loss.scheduled``.
        Default: none.
        """
        return {}

    def all_scheduled(self, step: int) -> dict[str, float | Tensor]:
        """Return the scheduled values of the method and of all losses; names of a loss start with ``<loss>/``."""
        values = dict(self.scheduled(step))
        for name, loss in self.losses.items():
            values |= {f"{name}/{key}": value for key, value in loss.scheduled(step).items()}
        return values

    def after_backward(self, step: int) -> None:
        """Modify gradients after the backward pass. By default, call ``after_backward`` of each head.

        Args:
            step: number of completed steps, as in ``Batch``.
        """
        for head in self.heads.values():
            head.after_backward(step)

    def after_step(self) -> None:
        """Modify weights after an optimizer step. By default, call ``after_step`` of each head."""
        for head in self.heads.values():
            head.after_step()
