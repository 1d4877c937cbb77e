"""The joint-embedding method: one network sees every view, and losses compare what it makes of them."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.contracts.head import Head
from sslkit.contracts.loss import BranchOutputs, ViewOutputs
from sslkit.contracts.method import Batch, Method, MethodOutput


class JointEmbedding(Method):
    """One student; the total is the weighted sum of the recipe's losses."""

    api = 1

    def forward(self, batch: Batch) -> MethodOutput:
        # One pass per resolution: all views of a size are one tensor.
        features = [self.backbone(views.flatten(0, 1)) for views in batch.views]
        started = self.started(batch.epoch)
        read = {self.head_of[name] for name in started}
        outputs = {name: self._branch(head, features, batch) for name, head in self.heads.items() if name in read} or {
            "": BranchOutputs(_by_view(features, batch))
        }
        total = torch.zeros((), device=batch.index.device)
        terms: dict[str, Tensor] = {}
        per_classifier: dict[str, tuple[Tensor, ...]] = {}
        for name in started:
            loss, head = self.losses[name], self.head_of[name]
            views = ViewOutputs({"student": outputs[head]}, batch.global_views, batch.index, batch.step, batch.epoch)
            result = loss(views)
            total = total + self.weights[name] * result.total
            terms |= {f"{name}/{term}": value.detach() for term, value in result.terms.items()}
            if len(self.losses) > 1:
                terms[name] = result.total.detach()
            if result.per_classifier and head not in per_classifier:
                per_classifier[head] = tuple(value.detach() for value in result.per_classifier)
        return MethodOutput(total, terms, per_classifier)

    def _branch(self, head: Head, features: list[Tensor], batch: Batch) -> BranchOutputs:
        made = [head(group) for group in features]
        classifiers = range(len(made[0].logits))
        return BranchOutputs(
            _by_view(features, batch),
            _by_view([output.embedding for output in made], batch),
            tuple(_by_view([output.logits[index] for output in made], batch) for index in classifiers),
            head.classify,
        )


def _by_view(groups: list[Tensor], batch: Batch) -> tuple[Tensor, ...]:
    """``[V * B, ...]`` of each resolution to ``[B, ...]`` of each view."""
    return tuple(view for group, views in zip(groups, batch.views, strict=True) for view in group.chunk(views.shape[0]))
