"""The SCAN loss against the paper's formula in loops, known values and symmetries."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logit_views import Logits, draw_logits, gradients, logit_context, logit_views
from torch import Tensor

import sslkit
from sslkit_discovery.scan import Scan


def make_loss(*sizes: int, view_count: int = 2, **options: float) -> Scan:
    return Scan(Scan.Options(**options), logit_context(*sizes, view_count=view_count))


def probabilities(view: Tensor, temperature: float) -> list[list[Tensor]]:
    rows = []
    for image in view:
        exponentials = [torch.exp(value / temperature) for value in image]
        rows.append([value / sum(exponentials) for value in exponentials])
    return rows


def formula(logits: Logits, global_views: int = 2, weight: float = 5.0, temperature: float = 0.1) -> Tensor:
    """Compute equation 2 of the paper, image by image and class by class."""
    per_classifier = []
    for views in logits:
        p = [probabilities(view, temperature) for view in views]
        images, classes = len(p[0]), len(p[0][0])
        pair_losses = []
        for i in range(len(p)):
            for j in range(i + 1, len(p)):
                if i < global_views or j < global_views:
                    for n in range(images):
                        pair_losses.append(-torch.log(sum(p[i][n][c] * p[j][n][c] for c in range(classes))))
        loss = sum(pair_losses) / len(pair_losses)
        for c in range(classes):
            mean = sum(p[v][n][c] for v in range(global_views) for n in range(images)) / (global_views * images)
            loss = loss + weight * mean * torch.log(mean)
        per_classifier.append(loss)
    return sum(per_classifier) / len(per_classifier)


@pytest.mark.parametrize(
    ("sizes", "views", "global_views"),
    [((4,), 2, 2), ((3, 5), 3, 2), ((4, 3, 4), 4, 2), ((3,), 3, 1), ((2, 2), 3, 3)],
)
@pytest.mark.parametrize("options", [{}, {"entropy_weight": 2.0, "temperature": 0.5}])
def test_equals_the_formula(sizes: tuple[int, ...], views: int, global_views: int, options: dict[str, float]) -> None:
    logits = draw_logits(*sizes, views=views)
    leaves = [view.requires_grad_() for per_view in logits for view in per_view]
    output = make_loss(*sizes, view_count=views, **options)(logit_views(logits, global_views))
    arguments = (options.get("entropy_weight", 5.0), options.get("temperature", 0.1))
    expected = formula(logits, global_views, *arguments)
    assert output.total.shape == ()
    assert output.total.item() == pytest.approx(expected.item(), abs=1e-10)
    for own, other in zip(gradients(output.total, leaves), gradients(expected, leaves), strict=True):
        assert other.abs().max() > 1e-4
        torch.testing.assert_close(own, other, rtol=0, atol=1e-10)
    for per_view, value in zip(logits, output.per_classifier, strict=True):
        assert value.item() == pytest.approx(formula([per_view], global_views, *arguments).item(), abs=1e-10)
        assert not value.requires_grad


def test_terms_are_consistency_and_class_balance() -> None:
    logits = draw_logits(4, 3)
    terms = make_loss(4, 3)(logit_views(logits)).terms
    assert terms["consistency"].item() == pytest.approx(formula(logits, weight=0.0).item(), abs=1e-10)
    entropies = [(formula([views], weight=0.0) - formula([views], weight=1.0)).item() for views in logits]
    balance = (entropies[0] / math.log(4) + entropies[1] / math.log(3)) / 2
    assert terms["class_balance"].item() == pytest.approx(balance, abs=1e-10)


@pytest.mark.parametrize(
    "permute",
    [
        lambda views: [views[1], views[0], views[3], views[2]],
        lambda views: [view[:, torch.tensor([2, 0, 3, 1])] for view in views],
        lambda views: [view[torch.tensor([5, 0, 3, 1, 4, 2])] for view in views],
    ],
    ids=["views", "classes", "images"],
)
def test_permutations_do_not_change_the_loss(permute: Callable[[list[Tensor]], list[Tensor]]) -> None:
    views = draw_logits(4, views=4)[0]
    before, after = (make_loss(4)(logit_views([own])).total.item() for own in (views, permute(views)))
    assert after == pytest.approx(before, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(classes=st.integers(2, 8), images=st.integers(1, 9), scale=st.floats(0, 50), seed=st.integers(0, 999))
def test_the_minimum_is_certain_balanced_agreement(classes: int, images: int, scale: float, seed: int) -> None:
    logits = draw_logits(classes, batch=images, seed=seed, scale=scale)
    loss = make_loss(classes)
    total = loss(logit_views(logits)).total
    assert total.item() >= -5 * math.log(classes) - 1e-9
    shifted = [[view + torch.arange(images, dtype=torch.float64)[:, None] for view in views] for views in logits]
    assert loss(logit_views(shifted)).total.item() == pytest.approx(total.item(), abs=1e-8)
    perfect = 9 * torch.eye(classes, dtype=torch.float64)
    assert loss(logit_views([[perfect] * 2])).total.item() == pytest.approx(-5 * math.log(classes), abs=1e-9)


def test_a_single_class_has_a_higher_loss_than_a_uniform_guess() -> None:
    collapsed = torch.zeros(6, 4, dtype=torch.float64)
    uniform = make_loss(4)(logit_views([[collapsed] * 2])).total.item()
    assert uniform == pytest.approx(math.log(4) - 5 * math.log(4))
    collapsed[:, 1] = 1
    output = make_loss(4)(logit_views([[collapsed] * 2]))
    assert output.total.item() == pytest.approx(0, abs=1e-2)
    assert output.terms["class_balance"].item() < 0.01


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_large_logits_give_finite_values(scale: float) -> None:
    views = [(scale * view).float().requires_grad_() for view in draw_logits(4)[0]]
    views.append(views[0].detach().roll(1, 1).requires_grad_())  # a certain prediction of a different class
    output = make_loss(4, view_count=3)(logit_views([views], 3))
    output.total.backward()
    assert output.total.isfinite()
    assert all(term.isfinite() for term in output.terms.values())
    assert all(view.grad is not None and view.grad.isfinite().all() for view in views)


def test_a_class_without_images_gives_finite_gradients() -> None:
    view = torch.zeros(6, 3)
    view[:, 0] = -1e6
    view.requires_grad_()
    make_loss(3)(logit_views([[view, view]])).total.backward()
    assert view.grad is not None
    assert view.grad.isfinite().all()


def test_invalid_classes_and_options_raise() -> None:
    with pytest.raises(sslkit.InputError, match="scan loss needs classifiers of at least two classes"):
        make_loss(4, 1)
    with pytest.raises(ValueError, match="greater than 0"):
        Scan.Options(temperature=0.0)
