"""The joint-embedding method: one network encodes every view, and losses compare the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.head import Head
from sslkit.contracts.loss import BranchOutputs, ViewOutputs
from sslkit.contracts.method import Batch, Method, MethodOutput

OutputsByHead = Mapping[str, BranchOutputs]
"""Mapping from head name to the outputs of a branch with this head."""


class JointEmbedding(Method):
    """Method with one student branch, which minimises the weighted sum of the recipe's losses.

    To add a branch such as a teacher, subclass this class and override ``forward_branches``.
    """

    api = 2

    def forward(self, batch: Batch) -> MethodOutput:
        active = self.active_losses(batch.epoch)
        branches = self.forward_branches(batch, {self.loss_heads[name] for name in active})
        total = torch.zeros((), device=batch.index.device)
        terms: dict[str, Tensor] = {}
        per_classifier: dict[str, tuple[Tensor, ...]] = {}
        for name in active:
            loss, head = self.losses[name], self.loss_heads[name]
            outputs = {branch: by_head[head] for branch, by_head in branches.items()}
            views = ViewOutputs(
                outputs, batch.global_views, batch.index, batch.step, batch.epoch, batch.scheduled_of(name)
            )
            result = loss(views)
            total = total + self.loss_weights[name] * result.total
            terms |= {f"{name}/{term}": value.detach() for term, value in result.terms.items()}
            if len(self.losses) > 1:
                terms[name] = result.total.detach()
            if result.per_classifier and head not in per_classifier:
                per_classifier[head] = tuple(value.detach() for value in result.per_classifier)
        return MethodOutput(total, terms, per_classifier)

    def forward_branches(self, batch: Batch, head_names: set[str]) -> Mapping[str, OutputsByHead]:
        """Encode the views with each branch.

        Args:
            batch: the views.
            head_names: names of the heads whose outputs the losses of this step read; ``""`` for a loss without a head.

        Returns:
            Mapping from branch name to a mapping from head name to outputs. Without heads, the head name is ``""``.
        """
        heads = {name: head for name, head in self.heads.items() if name in head_names}
        return {"student": forward_views(self.backbone, heads, batch.views)}


def forward_views(backbone: Backbone, heads: Mapping[str, Head], groups: Sequence[Tensor]) -> OutputsByHead:
    """Encode views with a backbone and its heads.

    Each head receives the features of all views in one call, so that its BatchNorm layers normalise global and local
    views together, as in the code of SwAV, DINO and Self-Classifier.

    Args:
        backbone: the backbone; called once for each view group.
        heads: mapping from name to head; each head is called once.
        groups: tensors ``[V, B, C, S, S]``, one for each view group: V views of S x S pixels.

    Returns:
        Mapping from head name to outputs. Without heads, the mapping contains only the features, with the key ``""``.
    """
    by_group = [backbone(views.flatten(0, 1)) for views in groups]
    features = by_group[0] if len(by_group) == 1 else torch.cat(by_group)
    count = sum(len(views) for views in groups)
    outputs = {name: _forward_head(head, features, count) for name, head in heads.items()}
    return outputs or {"": BranchOutputs(features.chunk(count))}


def _forward_head(head: Head, features: Tensor, count: int) -> BranchOutputs:
    """Return the outputs of a head for the features ``[count * B, D]`` of ``count`` views."""
    output = head(features)
    logits = tuple(each.chunk(count) for each in output.logits)
    return BranchOutputs(features.chunk(count), output.embedding.chunk(count), logits, head.classify)
