"""The joint-embedding method: one network encodes every view, and losses compare its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.head import Head
from sslkit.contracts.loss import BranchOutputs, ViewOutputs
from sslkit.contracts.method import Batch, Method, MethodOutput

OutputsByHead = Mapping[str, BranchOutputs]
"""Outputs of one branch, by head name."""


class JointEmbedding(Method):
    """Method with one student branch, trained on the weighted sum of the recipe's losses.

    To add a branch such as a teacher, derive from this class and override ``forward_branches``.
    """

    api = 1

    def forward(self, batch: Batch) -> MethodOutput:
        active = self.active_losses(batch.epoch)
        branches = self.forward_branches(batch, {self.loss_heads[name] for name in active})
        total = torch.zeros((), device=batch.index.device)
        terms: dict[str, Tensor] = {}
        per_classifier: dict[str, tuple[Tensor, ...]] = {}
        for name in active:
            loss, head = self.losses[name], self.loss_heads[name]
            outputs = {branch: by_head[head] for branch, by_head in branches.items()}
            result = loss(ViewOutputs(outputs, batch.global_views, batch.index, batch.step, batch.epoch))
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
            head_names: heads whose outputs the losses of this step need; ``""`` for a loss that needs none.

        Returns:
            Outputs by branch name, then by head name; under ``""`` if no head is needed.
        """
        heads = {name: head for name, head in self.heads.items() if name in head_names}
        return {"student": forward_views(self.backbone, heads, batch.views)}


def forward_views(backbone: Backbone, heads: Mapping[str, Head], groups: Sequence[Tensor]) -> OutputsByHead:
    """Encode views with a backbone and its heads.

    As in the code of SwAV, DINO and Self-Classifier, each head receives the features of all views in one call, so that
    its BatchNorm layers normalise global and local views together.

    Args:
        backbone: called once per view group, with all views of the group.
        heads: by name; each is called once.
        groups: ``[V, B, C, S, S]`` of each view group.

    Returns:
        Outputs by head name; without heads, the features alone under ``""``.
    """
    by_group = [backbone(views.flatten(0, 1)) for views in groups]
    features = by_group[0] if len(by_group) == 1 else torch.cat(by_group)
    count = sum(len(views) for views in groups)
    outputs = {name: _forward_head(head, features, count) for name, head in heads.items()}
    return outputs or {"": BranchOutputs(features.chunk(count))}


def _forward_head(head: Head, features: Tensor, count: int) -> BranchOutputs:
    """Return the outputs of ``count`` views from their features ``[count * B, D]``."""
    output = head(features)
    logits = tuple(each.chunk(count) for each in output.logits)
    return BranchOutputs(features.chunk(count), output.embedding.chunk(count), logits, head.classify)
