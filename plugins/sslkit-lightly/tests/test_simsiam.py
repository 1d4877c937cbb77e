"""The SimSiam and FastSiam losses, compared with lightly's similarity and with their formulas."""

from __future__ import annotations

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import SimSiamPredictionHead
from torch import Tensor

import sslkit
from sslkit_lightly.simsiam import FastSiam, SimSiam

CONTEXT = sslkit.Context(1, 8, (0.5,), (0.5,), 6, 10, 4, view_count=3, global_view_count=3, embedding_dim=4)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def make_loss(kind: type[SimSiam]) -> SimSiam:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(kind.Options(predictor_dim=9), CONTEXT).double()


def views(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [z.requires_grad_() for z in torch.randn(count, 6, 4, dtype=torch.float64, generator=generator)]


def outputs(embeddings: list[Tensor], global_views: int) -> sslkit.ViewOutputs:
    branch = sslkit.BranchOutputs(tuple(embeddings), tuple(embeddings))
    return sslkit.ViewOutputs({"student": branch}, global_views, torch.arange(6))


def assert_equal_with_gradients(actual: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(actual, expected, **CLOSE)
    gradients = torch.autograd.grad(expected, inputs, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(actual, inputs), gradients, **CLOSE)


def test_simsiam_is_lightlys_symmetric_loss() -> None:
    loss, similarity, (first, second) = make_loss(SimSiam), NegativeCosineSimilarity(), views(2)
    expected = (
        similarity(loss.predictor(first), second.detach()) + similarity(loss.predictor(second), first.detach())
    ) / 2
    assert_equal_with_gradients(loss(outputs([first, second], 2)).total, expected, [first, second])
    assert isinstance(loss.predictor, SimSiamPredictionHead)


def test_simsiam_compares_each_view_with_each_other_global_view() -> None:
    loss, similarity, embeddings = make_loss(SimSiam), NegativeCosineSimilarity(), views(3)
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2)]
    expected = torch.stack([similarity(loss.predictor(embeddings[j]), embeddings[i].detach()) for i, j in pairs]).mean()
    assert_equal_with_gradients(loss(outputs(embeddings, 2)).total, expected, embeddings)


@pytest.mark.parametrize("global_views", [2, 3])
def test_fastsiam_predicts_the_mean_of_the_other_global_views(global_views: int) -> None:
    loss, similarity, embeddings = make_loss(FastSiam), NegativeCosineSimilarity(), views(3)
    terms = []
    for j, embedding in enumerate(embeddings):
        others = [other.detach() for i, other in enumerate(embeddings[:global_views]) if i != j]
        terms.append(similarity(loss.predictor(embedding), sum(others) / len(others)))
    expected = torch.stack(terms).mean()
    assert_equal_with_gradients(loss(outputs(embeddings, global_views)).total, expected, embeddings)


def test_fastsiam_with_two_views_equals_simsiam() -> None:
    embeddings = views(2)
    totals = [make_loss(kind)(outputs(embeddings, 2)).total for kind in (FastSiam, SimSiam)]
    torch.testing.assert_close(*totals, **CLOSE)
