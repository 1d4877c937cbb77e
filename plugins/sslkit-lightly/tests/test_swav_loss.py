"""The SwAV loss, compared with lightly's and with values computed by hand, also if lightly's is not finite."""

from __future__ import annotations

import math
from pathlib import Path

import numpy
import pytest
import torch
from lightly.loss.swav_loss import SwaVLoss as LightlySwaVLoss
from lightly.loss.swav_loss import sinkhorn as lightly_sinkhorn
from processes.two_processes import run_script
from scipy.special import logsumexp
from torch import Tensor
from torch.nn import functional

import sslkit
from sslkit_lightly.dino import Dino
from sslkit_lightly.swav_loss import SwavLoss, sinkhorn

CONTEXT = sslkit.Context(1, 8, (0.5,), (0.5,), 4, 1, 1, view_count=2)


def cosines(views: int, batch: int, prototypes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    embeddings = functional.normalize(torch.randn(views, batch, 16, generator=generator), dim=2)
    return embeddings @ functional.normalize(torch.randn(prototypes, 16, generator=generator), dim=1).T


def outputs(*sets: Tensor, global_views: int = 2) -> sslkit.ViewOutputs:
    branch = sslkit.BranchOutputs(tuple(sets[0]), logits=tuple(tuple(logits) for logits in sets))
    return sslkit.ViewOutputs({"student": branch}, global_views, torch.arange(sets[0].shape[1]))


@pytest.mark.parametrize(("views", "global_views"), [(2, 2), (6, 2), (3, 1)])
def test_equals_lightly(views: int, global_views: int) -> None:
    logits = cosines(views, 64, 30).requires_grad_()
    output = SwavLoss(SwavLoss.Options(), CONTEXT)(outputs(logits, global_views=global_views))
    (gradient,) = torch.autograd.grad(output.total, logits)
    expected = LightlySwaVLoss()(list(logits[:global_views]), list(logits[global_views:]))[0]
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    assert output.total.shape == ()
    torch.testing.assert_close(output.total, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


def test_equals_lightly_with_other_options() -> None:
    logits = cosines(3, 16, 5)
    options = SwavLoss.Options(temperature=0.3, sinkhorn_epsilon=0.2, sinkhorn_iterations=7)
    lightly = LightlySwaVLoss(temperature=0.3, sinkhorn_epsilon=0.2, sinkhorn_iterations=7)
    total = SwavLoss(options, CONTEXT)(outputs(logits)).total
    torch.testing.assert_close(total, lightly(list(logits[:2]), [logits[2]])[0])


def test_swapped_prediction_by_hand() -> None:
    # Two images and two prototypes are symmetric: one Sinkhorn iteration gives the exact weights a and 1 - a.
    logits = torch.tensor([[[0.1, 0.0], [0.0, 0.1]], [[0.3, 0.0], [0.0, 0.3]]], dtype=torch.float64)
    total = SwavLoss(SwavLoss.Options(), CONTEXT)(outputs(logits)).total.item()

    def share(gap: float) -> float:
        return 1 / (1 + math.exp(-gap))

    first, second = share(0.1 / 0.05), share(0.3 / 0.05)
    predicts_first, predicts_second = share(0.1 / 0.1), share(0.3 / 0.1)
    expected = -(first * math.log(predicts_second) + (1 - first) * math.log(1 - predicts_second)) / 2
    expected -= (second * math.log(predicts_first) + (1 - second) * math.log(1 - predicts_first)) / 2
    assert total == pytest.approx(expected, abs=1e-12)


def test_local_views_predict_and_are_not_assigned() -> None:
    logits = cosines(4, 12, 6).requires_grad_()
    output = SwavLoss(SwavLoss.Options(), CONTEXT)(outputs(logits, global_views=1))
    (gradient,) = torch.autograd.grad(output.total, logits)
    assert gradient[0].abs().max() == 0, "the only global view is never predicted, and assignments carry no gradient"
    assert (gradient[1:].abs().amax((1, 2)) > 0).all()


def test_collapse_has_a_loss_of_ln_k() -> None:
    total = SwavLoss(SwavLoss.Options(), CONTEXT)(outputs(torch.zeros(2, 8, 20))).total
    assert total.item() == pytest.approx(math.log(20), abs=1e-5)


def test_sets_prototype_potentials_are_averaged_in_order() -> None:
    sets = [cosines(2, 8, count, seed=count) for count in (4, 9, 4)]
    loss = SwavLoss(SwavLoss.Options(), CONTEXT)
    output = loss(outputs(*sets))
    assert torch.equal(
        torch.stack(output.per_classifier), torch.stack([loss(outputs(logits)).total for logits in sets])
    )
    torch.testing.assert_close(output.total, torch.stack(output.per_classifier).mean())


@pytest.mark.parametrize(("epsilon", "scale"), [(0.005, 1.0), (0.005, 50.0), (0.05, 1e4)])
def test_the_loss_is_finite_where_lightlys_is_not(epsilon: float, scale: float) -> None:
    logits = (scale * cosines(2, 32, 10)).requires_grad_()
    assert not LightlySwaVLoss(sinkhorn_epsilon=epsilon)(list(logits), []).isfinite()
    total = SwavLoss(SwavLoss.Options(sinkhorn_epsilon=epsilon), CONTEXT)(outputs(logits)).total
    (gradient,) = torch.autograd.grad(total, logits)
    assert total.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    assignments = sinkhorn(logits, epsilon, 3)
    torch.testing.assert_close(assignments.sum(2), torch.ones(2, 32))


@pytest.mark.parametrize("epsilon", [0.005, 0.05])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(dtype: torch.dtype, epsilon: float) -> None:
    logits = cosines(2, 32, 10).to(dtype)
    loss = SwavLoss(SwavLoss.Options(sinkhorn_epsilon=epsilon), CONTEXT)
    with torch.autocast("cpu", torch.bfloat16):
        total = loss(outputs(logits)).total
    assert total.dtype == torch.float32
    assert total.isfinite()
    assert torch.equal(total, loss(outputs(logits.float())).total)


@pytest.mark.parametrize("epsilon", [0.005, 0.05])
@pytest.mark.parametrize("prototypes", [10, 3000])
def test_sinkhorn_equals_optimal_transport_by_potentials(epsilon: float, prototypes: int) -> None:
    """Equation 3 as solved by Cuturi (NeurIPS 2013): diag(u) exp(logits / epsilon) diag(v), in logarithms."""
    logits = cosines(1, 48, prototypes)[0].double()
    kernel = logits.numpy() / epsilon
    image_potentials, prototype_potentials = numpy.zeros((48, 1)), numpy.zeros((1, prototypes))
    for _ in range(3):
        prototype_potentials = -math.log(prototypes) - logsumexp(kernel + image_potentials, axis=0, keepdims=True)
        image_potentials = -math.log(48) - logsumexp(kernel + prototype_potentials, axis=1, keepdims=True)
    expected = 48 * numpy.exp(kernel + image_potentials + prototype_potentials)
    torch.testing.assert_close(sinkhorn(logits, epsilon, 3), torch.from_numpy(expected))


def test_assignments_have_equal_shares() -> None:
    logits = cosines(2, 40, 8).double()
    assignments = sinkhorn(logits, 0.05, 200)
    torch.testing.assert_close(assignments.sum(2), torch.ones(2, 40, dtype=torch.float64))
    torch.testing.assert_close(assignments.sum(1), torch.full((2, 8), 5.0, dtype=torch.float64))
    three = sinkhorn(logits, 0.05, 3)
    torch.testing.assert_close(three[1], lightly_sinkhorn(logits[1]))
    assert not assignments.requires_grad


def test_two_processes_equal_one(tmp_path: Path) -> None:
    single, *ranks = run_script(Path(__file__).with_name("swav_in_two_processes.py"), tmp_path)
    assert single["gradient 2"].abs().max() > 1e-3
    assert (single["queue_modules.1.index"] >= 0).all(), "the queue must be full, otherwise it is not tested"
    for name, value in single.items():
        for rank in ranks:
            torch.testing.assert_close(rank[name], value, rtol=1e-10, atol=1e-10)


def test_too_few_iterations_raise() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        SwavLoss.Options(sinkhorn_iterations=0)


def test_the_logit_temperature_is_the_predictions_temperature() -> None:
    for kind in (SwavLoss, Dino):
        assert kind(kind.Options(temperature=0.3), CONTEXT).logit_temperature == 0.3
