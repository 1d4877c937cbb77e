from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss, LossOutput, ViewOutputs
from sslkit.contracts.method import Batch, Parts, WeightedLoss
from sslkit.contracts.options import NoOptions
from sslkit.methods.joint_embedding import JointEmbedding

CONTEXT = Context(channels=1, image_size=2, mean=(0.5,), std=(0.5,), batch_size=3, steps_per_epoch=1, epochs=1)
OPTIONS = NoOptions()


class Sum(Backbone):
    """Feature of an image: its sum, and that doubled; trainable by a factor."""

    api = 1
    feature_dim = 2

    def __init__(self) -> None:
        super().__init__(OPTIONS, CONTEXT)
        self.factor = nn.Parameter(torch.ones(()))
        self.calls: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(tuple(images.shape))
        total = self.factor * images.flatten(1).sum(dim=1, keepdim=True)
        return torch.cat([total, 2 * total], dim=1)

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {}


class Plain(Head):
    api = 1
    embedding_dim = 2
    classifiers = (2, 1)

    def embed(self, features: Tensor) -> Tensor:
        return features + 1

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return embedding * 10, embedding[:, :1]


class Recording(Loss):
    api = 1
    seen: ClassVar[list[ViewOutputs]] = []

    def forward(self, views: ViewOutputs) -> LossOutput:
        self.seen.append(views)
        total = torch.stack([view.mean() for view in views.student.features]).sum()
        return LossOutput(total, {"views": torch.tensor(float(len(views.student.features)))}, (total, total * 2))


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    views = (torch.rand(2, 3, 1, 2, 2, generator=generator), torch.rand(3, 3, 1, 1, 1, generator=generator))
    return Batch(views, global_views=2, index=torch.tensor([4, 5, 6]), step=9, epoch=2)


def method(**weights: float) -> JointEmbedding:
    Recording.seen.clear()
    losses = tuple(WeightedLoss(name, Recording(OPTIONS, CONTEXT), weight, "plain") for name, weight in weights.items())
    return JointEmbedding(OPTIONS, CONTEXT, Parts(Sum(), {"plain": Plain(OPTIONS, CONTEXT)}, losses))


def test_losses_see_every_view_in_order_and_each_resolution_runs_once(batch: Batch) -> None:
    made = method(one=1.0)
    made(batch)
    assert made.backbone.calls == [(6, 1, 2, 2), (9, 1, 1, 1)]
    (views,) = Recording.seen
    expected = [view for group in batch.views for view in group]
    assert len(views.student.features) == len(expected) == 5
    for view, feature, embedding in zip(expected, views.student.features, views.student.embeddings, strict=True):
        torch.testing.assert_close(feature[:, 0], view.flatten(1).sum(1))
        torch.testing.assert_close(embedding, feature + 1)
    first, second = views.student.logits
    torch.testing.assert_close(first[4], views.student.embeddings[4] * 10)
    torch.testing.assert_close(second[0], views.student.embeddings[0][:, :1])
    assert (views.global_views, views.step, views.epoch) == (2, 9, 2)
    assert views.index.tolist() == [4, 5, 6]
    assert views.student.classify is not None
    assert views.pairs() == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 2), (1, 3), (1, 4)] + [
        (i, j) for i in (2, 3, 4) for j in (0, 1)
    ]


def test_the_total_is_the_weighted_sum_and_terms_carry_the_losses_names(batch: Batch) -> None:
    alone = method(one=1.0)(batch)
    assert set(alone.terms) == {"one/views"}
    both = method(one=1.0, two=0.25)(batch)
    torch.testing.assert_close(both.loss, 1.25 * alone.loss)
    assert set(both.terms) == {"one", "one/views", "two", "two/views"}
    torch.testing.assert_close(both.terms["two"], alone.loss.detach())
    assert not any(term.requires_grad for term in both.terms.values())
    torch.testing.assert_close(both.per_classifier["plain"][1], 2 * alone.loss.detach())


def test_the_gradient_reaches_the_backbone(batch: Batch) -> None:
    made = method(one=1.0)
    loss = made(batch).loss
    loss.backward()
    # Everything is linear in the factor, which is 1.
    torch.testing.assert_close(made.backbone.factor.grad, loss.detach())


def test_losses_compute_in_float32_whatever_autocast_is(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    made = method(one=1.0)
    honest = Sum.forward
    monkeypatch.setattr(Sum, "forward", lambda self, images: honest(self, images).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = made(batch)
    (views,) = Recording.seen
    assert {tensor.dtype for tensor in (*views.student.features, *views.student.embeddings)} == {torch.float32}
    assert result.loss.dtype == torch.float32


def test_hooks_reach_every_head(batch: Batch) -> None:
    made = method(one=1.0)
    told: list[object] = []
    head = made.heads["plain"]
    head.after_backward = lambda step: told.append(step)
    head.after_step = lambda: told.append("stepped")
    made.after_backward(5)
    made.after_step()
    assert told == [5, "stepped"]
