"""The joint-embedding method: one network sees every view, and losses compare what it makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.head import Head
from sslkit.contracts.loss import BranchOutputs, ViewOutputs
from sslkit.contracts.method import Batch, Method, MethodOutput

Branches = Mapping[str, BranchOutputs]
"""What one branch gives, by the name of the head."""


class JointEmbedding(Method):
    """One student; the total is the weighted sum of the recipe's losses.

    A method with more branches, such as a teacher, derives from this class and overrides ``forward_branches``.
    """

    api = 1

    def forward(self, batch: Batch) -> MethodOutput:
        started = self.started(batch.epoch)
        branches = self.forward_branches(batch, {self.head_of[name] for name in started})
        total = torch.zeros((), device=batch.index.device)
        terms: dict[str, Tensor] = {}
        per_classifier: dict[str, tuple[Tensor, ...]] = {}
        for name in started:
            loss, head = self.losses[name], self.head_of[name]
            outputs = {branch: by_head[head] for branch, by_head in branches.items()}
            result = loss(ViewOutputs(outputs, batch.global_views, batch.index, batch.step, batch.epoch))
            total = total + self.weights[name] * result.total
            terms |= {f"{name}/{term}": value.detach() for term, value in result.terms.items()}
            if len(self.losses) > 1:
                terms[name] = result.total.detach()
            if result.per_classifier and head not in per_classifier:
                per_classifier[head] = tuple(value.detach() for value in result.per_classifier)
        return MethodOutput(total, terms, per_classifier)

    def forward_branches(self, batch: Batch, read: set[str]) -> Mapping[str, Branches]:
        """What each branch makes of the views, through those heads that are read.

        Args:
            batch: the views.
            read: names of the heads that the losses of this step read; ``""`` for a loss that reads none.

        Returns:
            By branch, by name of the head; under ``""`` where no head is read.
        """
        heads = {name: head for name, head in self.heads.items() if name in read}
        return {"student": forward_views(self.backbone, heads, batch.views)}


def forward_views(backbone: Backbone, heads: Mapping[str, Head], groups: Sequence[Tensor]) -> Branches:
    """What a backbone and its heads make of views; without heads, the features alone under an empty name.

    Args:
        backbone: sees all views of one size at once.
        heads: by name.
        groups: ``[V, B, C, S, S]`` of each size.
    """
    features = [backbone(views.flatten(0, 1)) for views in groups]
    counts = [len(views) for views in groups]
    seen = {name: _through(head, features, counts) for name, head in heads.items()}
    return seen or {"": BranchOutputs(_by_view(features, counts))}


def _through(head: Head, features: Sequence[Tensor], counts: Sequence[int]) -> BranchOutputs:
    made = [head(group) for group in features]
    classifiers = range(len(made[0].logits))
    return BranchOutputs(
        _by_view(features, counts),
        _by_view([output.embedding for output in made], counts),
        tuple(_by_view([output.logits[index] for output in made], counts) for index in classifiers),
        head.classify,
    )


def _by_view(groups: Sequence[Tensor], counts: Sequence[int]) -> tuple[Tensor, ...]:
    """``[V * B, ...]`` of each size to ``[B, ...]`` of each view."""
    return tuple(view for group, count in zip(groups, counts, strict=True) for view in group.chunk(count))
