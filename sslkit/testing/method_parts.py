"""Build methods with a small backbone, head and losses, and random batches for them, for the tests of methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sslkit.contracts.backbone import Backbone, Tokens
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss, LossOutput, ViewOutputs
from sslkit.contracts.method import Batch, Method, Parts, WeightedLoss
from sslkit.testing.base import ComponentTests


class SmallBackbone(Backbone):
    """Backbone with one convolution, BatchNorm and ReLU; features are ``[B, 12]``."""

    api = 2
    feature_dim = 12

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.layers = nn.Sequential(nn.Conv2d(3, 12, 8, 8), nn.BatchNorm2d(12), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images).mean((2, 3))
        return features

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {8: self.layers(images)}


class SmallTransformer(Backbone):
    """Backbone with patches of 4 x 4 pixels and one layer of attention; features are ``[B, 12]``."""

    api = 2
    feature_dim = 12
    patch_size = 4
    provides = frozenset({"feature_maps", "tokens"})

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.embedding = nn.Conv2d(3, 12, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(12))
        self.positions = nn.Parameter(torch.randn(64, 12))
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.norm = nn.LayerNorm(12)

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(images).features

    def tokens(
        self,
        images: Tensor,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tokens:
        patches = self.embedding(images).flatten(2).transpose(1, 2)
        if mask is not None and mask_token is not None:
            patches = torch.where(mask[..., None], mask_token.to(patches.dtype), patches)
        patches = patches + self.positions[: patches.shape[1]]
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, 12))
        tokens = torch.cat([self.cls_token.expand(len(patches), 1, 12), patches], 1)
        tokens = self.norm(tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0])
        return Tokens(tokens[:, 0], tokens[:, :1], tokens[:, 1:])

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        patches = self.tokens(images).patches.transpose(1, 2)
        return {4: patches.unflatten(2, (images.shape[2] // 4, -1))}

    def no_weight_decay(self) -> frozenset[str]:
        return frozenset({"cls_token", "positions"})


class SmallHead(Head):
    """Head with one linear layer and one classifier of five classes; embeddings are ``[B, 6]``."""

    api = 2
    embedding_dim = 6
    classifiers = (5,)

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.projection = nn.Linear(12, 6)
        self.prototypes = nn.Linear(6, 5, bias=False)

    def embed(self, features: Tensor) -> Tensor:
        return normalize(self.projection(features))

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return (self.prototypes(embedding),)


class RecordingLoss(Loss):
    """Loss that records its inputs and returns the distance between views plus the entropy of class probabilities."""

    api = 2
    needs = frozenset({"embeddings", "logits"})
    min_views = 2

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.inputs: list[ViewOutputs] = []

    def forward(self, views: ViewOutputs) -> LossOutput:
        self.inputs.append(views)
        embeddings, (logits,) = views.student.embeddings, views.student.logits
        distances = [(embeddings[i] - embeddings[j]).square().sum(1).mean() for i, j in views.pairs()]
        distance = torch.stack(distances).mean()
        entropy = torch.stack([-(view.softmax(1) * view.log_softmax(1)).sum(1).mean() for view in logits]).mean()
        return LossOutput(distance + entropy, {"distance": distance})


class MethodInputs(ComponentTests):
    """Base class of ``MethodTests``: methods that build the method under test and random batches for it."""

    component: ClassVar[type[Method]]

    def make_backbone(self) -> Backbone:
        """Return a small transformer if the method needs tokens, else a small convolutional network."""
        return SmallTransformer() if "tokens" in self.component.needs else SmallBackbone()

    @property
    def has_head(self) -> bool:
        """Whether the method is tested with a head."""
        return not self.component.own_objective or bool(self.component.needs & {"embeddings", "logits"})

    def build(
        self,
        seed: int = 0,
        losses: Mapping[str, tuple[float, int]] | None = None,
        backbone: Backbone | None = None,
        **facts: Any,
    ) -> Method:
        """Build the method with a small backbone, head and losses.

        Args:
            seed: seed of the weights.
            losses: mapping from the name of a loss to its weight and start epoch; by default one loss, "agree", or no
                loss if the method has its own objective.
            backbone: the backbone; by default that of ``make_backbone``.
            facts: attributes of the context that differ from those of ``make_context``.
        """
        settings = losses or ({} if self.component.own_objective else {"agree": (1.0, 0)})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            weighted = (
                WeightedLoss(name, RecordingLoss(), weight, "head", start) for name, (weight, start) in settings.items()
            )
            heads = {"head": SmallHead()} if self.has_head else {}
            parts = Parts(backbone or self.make_backbone(), heads, tuple(weighted))
        # As in training, only the context of a loss has the sizes of a head.
        context = self.make_context(embedding_dim=0, classifiers=(), **facts)
        method: Method = self.make(context, parts, seed=seed)
        return method

    def batch(self, step: int = 0, global_views: int = 2, local_views: tuple[int, ...] = (2,)) -> Batch:
        """Return random views of eight images.

        Args:
            step: number of completed steps, which also seeds the views.
            global_views: number of global views of each image.
            local_views: number of local views of each image, for each group of local views; a method that needs a
                fixed size gets no local views.
        """
        context, generator = self.make_context(), torch.Generator().manual_seed(step)
        sides = [] if "fixed_size" in self.component.needs else [(count, 16) for count in local_views]
        sizes = [(global_views, 32), *sides]
        groups = tuple(torch.randn(count, 8, 3, side, side, generator=generator) for count, side in sizes)
        return Batch(groups, global_views, torch.arange(8), step, step // context.steps_per_epoch)

    def feature_batch(self, step: int = 0) -> Batch:
        """Return random features of eight images, as in training with a frozen backbone."""
        batch, generator = self.batch(step), torch.Generator().manual_seed(step)
        return replace(batch, views=tuple(torch.randn(len(group), 8, 12, generator=generator) for group in batch.views))

    def train_step(self, method: Method, step: int) -> Tensor:
        """Take an optimizer step and return the loss before the step."""
        optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05)
        optimizer.zero_grad()
        loss: Tensor = method(self.batch(step)).loss
        loss.backward()
        method.after_backward(step)
        optimizer.step()
        method.after_step()
        return loss.detach()
