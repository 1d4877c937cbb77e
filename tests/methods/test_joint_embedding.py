"""The joint-embedding method: outputs that losses receive, weighted total loss, gradients and hooks."""

from __future__ import annotations

from copy import deepcopy
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss, LossOutput, ViewOutputs
from sslkit.contracts.method import Batch, Parts, WeightedLoss
from sslkit.contracts.options import NoOptions
from sslkit.methods.joint_embedding import JointEmbedding, forward_views

CONTEXT = Context(channels=1, image_size=2, mean=(0.5,), std=(0.5,), batch_size=3, steps_per_epoch=1, epochs=1)
OPTIONS = NoOptions()


class SumBackbone(Backbone):
    """Backbone whose two features are the sum and twice the sum of the pixels, times a trainable factor."""

    api = 2
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


class AddOneHead(Head):
    api = 2
    embedding_dim = 2
    classifiers = (2, 1)

    def embed(self, features: Tensor) -> Tensor:
        return features + 1

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return embedding * 10, embedding[:, :1]


class RecordingLoss(Loss):
    api = 2
    received: ClassVar[list[ViewOutputs]] = []

    def forward(self, views: ViewOutputs) -> LossOutput:
        self.received.append(views)
        total = torch.stack([view.mean() for view in views.student.features]).sum()
        return LossOutput(total, {"views": torch.tensor(float(len(views.student.features)))}, (total, total * 2))


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    views = (torch.rand(2, 3, 1, 2, 2, generator=generator), torch.rand(3, 3, 1, 1, 1, generator=generator))
    return Batch(views, global_views=2, index=torch.tensor([4, 5, 6]), step=9, epoch=2)


def make_method(**weights: float) -> JointEmbedding:
    RecordingLoss.received.clear()
    losses = tuple(
        WeightedLoss(name, RecordingLoss(OPTIONS, CONTEXT), weight, "plain") for name, weight in weights.items()
    )
    return JointEmbedding(OPTIONS, CONTEXT, Parts(SumBackbone(), {"plain": AddOneHead(OPTIONS, CONTEXT)}, losses))


def test_losses_receive_all_views_in_order_from_one_backbone_call_per_size(batch: Batch) -> None:
    method = make_method(one=1.0)
    method(batch)
    assert method.backbone.calls == [(6, 1, 2, 2), (9, 1, 1, 1)]
    (views,) = RecordingLoss.received
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


def test_the_total_is_the_weighted_sum_and_terms_have_the_losses_names(batch: Batch) -> None:
    single = make_method(one=1.0)(batch)
    assert set(single.terms) == {"one/views"}
    both = make_method(one=1.0, two=0.25)(batch)
    torch.testing.assert_close(both.loss, 1.25 * single.loss)
    assert set(both.terms) == {"one", "one/views", "two", "two/views"}
    torch.testing.assert_close(both.terms["two"], single.loss.detach())
    assert not any(term.requires_grad for term in both.terms.values())
    torch.testing.assert_close(both.per_classifier["plain"][1], 2 * single.loss.detach())


def test_the_gradient_reaches_the_backbone(batch: Batch) -> None:
    method = make_method(one=1.0)
    loss = method(batch).loss
    loss.backward()
    # The loss is linear in the factor, whose value is 1.
    torch.testing.assert_close(method.backbone.factor.grad, loss.detach())


def test_losses_compute_in_float32_under_autocast(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    method = make_method(one=1.0)
    forward = SumBackbone.forward
    monkeypatch.setattr(SumBackbone, "forward", lambda self, images: forward(self, images).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = method(batch)
    (views,) = RecordingLoss.received
    assert {tensor.dtype for tensor in (*views.student.features, *views.student.embeddings)} == {torch.float32}
    assert result.loss.dtype == torch.float32


def test_hooks_are_called_on_every_head(batch: Batch) -> None:
    method = make_method(one=1.0)
    calls: list[object] = []
    head = method.heads["plain"]
    head.after_backward = lambda step: calls.append(step)
    head.after_step = lambda: calls.append("after_step")
    method.after_backward(5)
    method.after_step()
    assert calls == [5, "after_step"]


class BatchNormHead(Head):
    """Head as in SwAV, DINO and Self-Classifier: BatchNorm in an MLP, then unit embeddings and prototypes."""

    api = 2
    embedding_dim = 3
    classifiers = (4,)

    def __init__(self) -> None:
        super().__init__(OPTIONS, CONTEXT)
        self.mlp = nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
        self.prototypes = nn.Linear(3, 4, bias=False)

    def embed(self, features: Tensor) -> Tensor:
        return normalize(self.mlp(features))

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return (self.prototypes(embedding),)


def authors_forward(backbone: Backbone, head: BatchNormHead, views: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Encode views as SwAV's ``ResNet.forward``, DINO's ``MultiCropWrapper`` and Self-Classifier's ``Model`` do."""
    sizes = torch.tensor([view.shape[-1] for view in views])
    ends = torch.unique_consecutive(sizes, return_counts=True)[1].cumsum(0).tolist()
    starts = [0, *ends[:-1]]
    features = torch.cat([backbone(torch.cat(views[start:end])) for start, end in zip(starts, ends, strict=True)])
    embedding = normalize(head.mlp(features))
    return embedding, head.prototypes(embedding)


def test_batch_norm_in_a_head_sees_global_and_local_views_together_as_in_the_authors_code(batch: Batch) -> None:
    torch.manual_seed(0)
    backbone, head = SumBackbone().double(), BatchNormHead().double()
    copy = deepcopy(head)
    groups = tuple(group.double() for group in batch.views)
    branch = forward_views(backbone, {"head": head}, groups)["head"]
    embedding, logits = authors_forward(backbone, copy, [view for group in groups for view in group])
    torch.testing.assert_close(torch.cat(branch.embeddings), embedding, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.cat(branch.logits[0]), logits, rtol=1e-12, atol=1e-12)
    for one, other in zip(head.buffers(), copy.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert head.mlp[1].num_batches_tracked == 1
    (branch.logits[0][0] * branch.logits[0][4]).sum().backward()
    (logits[:3] * logits[-3:]).sum().backward()
    for one, other in zip(head.parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)
