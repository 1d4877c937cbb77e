"""The decoupled contrastive losses, compared with lightly's."""

from __future__ import annotations

import pytest
import torch
from lightly.loss import DCLLoss, DCLWLoss, DirectCLRLoss
from torch import Tensor, nn

import sslkit
from sslkit_lightly.contrastive import Dcl, Dclw, DirectClr
from sslkit_lightly.pairwise import PairwiseLoss

CONTEXT = sslkit.Context(1, 8, (0.5,), (0.5,), 6, 1, 1, view_count=2, feature_dim=4)


def random_embeddings(count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [z.requires_grad_() for z in torch.randn(count, 6, 4, dtype=torch.float64, generator=generator)]


def views(embeddings: list[Tensor], global_views: int = 2) -> sslkit.ViewOutputs:
    branch = sslkit.BranchOutputs(tuple(embeddings), tuple(embeddings))
    return sslkit.ViewOutputs({"student": branch}, global_views, torch.arange(len(embeddings[0])))


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # lightly's weights
@pytest.mark.parametrize(
    ("loss", "options", "reference"),
    [
        (Dcl, {"temperature": 0.3}, DCLLoss(temperature=0.3)),
        (DirectClr, {"temperature": 0.3, "loss_dim": 3}, DirectCLRLoss(temperature=0.3, loss_dim=3)),
        (Dclw, {"temperature": 0.3, "sigma": 0.7}, DCLWLoss(temperature=0.3, sigma=0.7)),
    ],
)
def test_value_and_gradients_equal_lightlys(
    loss: type[PairwiseLoss], options: dict[str, float], reference: nn.Module
) -> None:
    embeddings = random_embeddings(2)
    expected = reference(*embeddings)
    actual = loss(loss.Options.model_validate(options), CONTEXT)(views(embeddings)).total
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    gradients = torch.autograd.grad(expected, embeddings)
    torch.testing.assert_close(torch.autograd.grad(actual, embeddings), gradients, rtol=1e-10, atol=1e-10)


def test_dclw_gives_pairs_with_a_small_cosine_a_larger_weight() -> None:
    weights = Dclw(Dclw.Options(), CONTEXT).weights(torch.tensor([-0.5, 0.0, 0.9]))
    assert weights[0] > weights[1] > weights[2]
    assert weights.sum().item() == pytest.approx(3)


def test_directclr_reads_only_the_first_features() -> None:
    embeddings = random_embeddings(2)
    total = DirectClr(DirectClr.Options(loss_dim=3), CONTEXT)(views(embeddings)).total
    for gradient in torch.autograd.grad(total, embeddings):
        assert (gradient[:, :3] != 0).all()
        assert (gradient[:, 3:] == 0).all()
    with pytest.raises(sslkit.OptionError, match="5 is more than the 4 features"):
        DirectClr(DirectClr.Options(loss_dim=5), CONTEXT)
