"""The pairwise losses, compared with float64 implementations of their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import BarlowTwinsLoss, NTXentLoss, VICRegLoss
from torch import Tensor, nn

import sslkit
from sslkit_lightly.pairwise import BarlowTwins, PairwiseLoss, SimClr, VicReg
from sslkit_lightly.projection_head import ProjectionHead

CONTEXT = sslkit.Context(1, 8, (0.5,), (0.5,), 6, 1, 1, view_count=2, feature_dim=5)
LOSSES: list[type[PairwiseLoss]] = [SimClr, BarlowTwins, VicReg]


def make_loss(loss: type[PairwiseLoss], **options: float) -> PairwiseLoss:
    return loss(loss.Options.model_validate(options), CONTEXT)


def views(*embeddings: Tensor, global_views: int = 2) -> sslkit.ViewOutputs:
    branch = sslkit.BranchOutputs(embeddings, embeddings)
    return sslkit.ViewOutputs({"student": branch}, global_views, torch.arange(len(embeddings[0])))


def two_views(seed: int = 0) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return first, second


def test_simclr_is_equation_1() -> None:
    first, second = two_views()
    embeddings = [z / z.norm() for z in torch.cat([first, second])]
    expected = 0.0
    for i, z in enumerate(embeddings):
        similarities = [math.exp(float(z @ other) / 0.2) for other in embeddings]
        expected -= math.log(similarities[(i + 6) % 12] / (sum(similarities) - similarities[i])) / 12
    assert make_loss(SimClr, temperature=0.2)(views(first, second)).total.item() == pytest.approx(expected, abs=1e-9)


def test_barlow_twins_is_equation_1() -> None:
    first, second = two_views()
    correlation = torch.corrcoef(torch.cat([first.T, second.T]))[:4, 4:]
    # lightly normalises with the epsilon of BatchNorm.
    expected = sum(
        (1 - float(value)) ** 2 if i == j else 0.01 * float(value) ** 2
        for i, row in enumerate(correlation)
        for j, value in enumerate(row)
    )
    total = make_loss(BarlowTwins, redundancy_weight=0.01)(views(first, second)).total
    assert total.item() == pytest.approx(expected, abs=1e-4)


def test_vicreg_is_equation_6() -> None:
    first, second = two_views()

    def variance(z: Tensor) -> float:
        return sum(max(0.0, 1 - math.sqrt(float(column.var()) + 1e-4)) for column in z.T) / 4

    def covariance(z: Tensor) -> float:
        matrix = torch.cov(z.T)
        return float(matrix.square().sum() - matrix.diagonal().square().sum()) / 4

    invariance = float((first - second).square().mean())
    # lightly halves the sum of the two variance terms.
    hinges = (variance(first) + variance(second)) / 2
    squares = covariance(first) + covariance(second)
    actual = make_loss(VicReg)(views(first, second)).total.item()
    assert actual == pytest.approx(25 * invariance + 25 * hinges + squares, rel=1e-9)
    weights = {"invariance_weight": 3.0, "variance_weight": 5.0, "covariance_weight": 7.0}
    actual = make_loss(VicReg, **weights)(views(first, second)).total.item()
    assert actual == pytest.approx(3 * invariance + 5 * hinges + 7 * squares, rel=1e-9)


@pytest.mark.parametrize(
    ("loss", "options", "reference"),
    [
        (SimClr, {"temperature": 0.2}, NTXentLoss(temperature=0.2)),
        (BarlowTwins, {"redundancy_weight": 0.01}, BarlowTwinsLoss(lambda_param=0.01)),
        (
            VicReg,
            {"invariance_weight": 3.0, "variance_weight": 5.0, "covariance_weight": 7.0},
            VICRegLoss(lambda_param=3.0, mu_param=5.0, nu_param=7.0),
        ),
    ],
)
def test_value_and_gradients_equal_lightlys(
    loss: type[PairwiseLoss], options: dict[str, float], reference: nn.Module
) -> None:
    first, second = (z.requires_grad_() for z in two_views())
    expected = reference(first, second)
    actual = make_loss(loss, **options)(views(first, second)).total
    torch.testing.assert_close(actual, expected)
    gradients = torch.autograd.grad(expected, (first, second))
    torch.testing.assert_close(torch.autograd.grad(actual, (first, second)), gradients)


@pytest.mark.parametrize("loss", LOSSES)
def test_pairs_of_local_views_are_ignored(loss: type[PairwiseLoss]) -> None:
    embeddings = [*two_views(0), *two_views(1)]
    pairwise = make_loss(loss)
    total = pairwise(views(*embeddings, global_views=1)).total
    pairs = [pairwise(views(embeddings[0], local)).total for local in embeddings[1:]]
    torch.testing.assert_close(total, torch.stack(pairs).mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_symmetric_and_both_views_get_gradients(loss: type[PairwiseLoss]) -> None:
    first, second = (z.requires_grad_() for z in two_views())
    total = make_loss(loss)(views(first, second)).total
    torch.testing.assert_close(make_loss(loss)(views(second, first)).total, total)
    for gradient in torch.autograd.grad(total, (first, second)):
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_the_head_has_the_configured_layers() -> None:
    torch.manual_seed(0)
    head = ProjectionHead(ProjectionHead.Options(hidden_dim=7, embedding_dim=3, layers=3), CONTEXT)
    output = head(torch.randn(6, 5))
    assert (output.embedding.shape, output.logits, head.embedding_dim) == ((6, 3), (), 3)
    assert [m.out_features for m in head.modules() if isinstance(m, torch.nn.Linear)] == [7, 7, 3]


@pytest.mark.parametrize("last", [True, False])
def test_batch_norm_follows_every_layer_or_all_but_the_last(last: bool) -> None:
    options = ProjectionHead.Options(hidden_dim=7, embedding_dim=3, layers=3, last_batch_norm=last)
    kinds = [type(layer).__name__ for layer in ProjectionHead(options, CONTEXT).mlp.layers]
    assert kinds == [*["Linear", "BatchNorm1d", "ReLU"] * 2, "Linear", *["BatchNorm1d"] * last]
