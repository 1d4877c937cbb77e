"""The TEMI loss against the paper's formula in loops, class shares over steps, and symmetries."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logit_views import Logits, draw_logits, float64_buffers, gradients, logit_context, logit_views
from torch import Tensor

import sslkit
from sslkit_discovery.temi import Temi


def make_loss(*sizes: int, view_count: int = 2, **options: float) -> Temi:
    with float64_buffers():
        return Temi(Temi.Options(**options), logit_context(*sizes, view_count=view_count))


def probabilities(view: Tensor, temperature: float) -> list[list[Tensor]]:
    rows = []
    for image in view:
        exponentials = [torch.exp(value / temperature) for value in image]
        rows.append([value / sum(exponentials) for value in exponentials])
    return rows


class Formula:
    """The paper's formula, image by image and class by class, with its moving averages."""

    def __init__(self, *sizes: int, beta: float = 0.6, momentum: float = 0.9, temperature: float = 0.1) -> None:
        self.beta, self.momentum, self.temperature = beta, momentum, temperature
        self.shares = [[1 / size] * size for size in sizes]

    def __call__(self, students: Logits, teachers: Logits) -> Tensor:
        p = [[probabilities(view, self.temperature) for view in views] for views in students]
        q = [
            [[[value.item() for value in row] for row in probabilities(view, self.temperature)] for view in views]
            for views in teachers
        ]
        images, targets = len(q[0][0]), len(q[0])
        for h, shares in enumerate(self.shares):
            for c in range(len(shares)):
                mean = sum(q[h][v][n][c] for v in range(targets) for n in range(images)) / (targets * images)
                shares[c] = self.momentum * shares[c] + (1 - self.momentum) * mean
        losses = []
        for n in range(images):
            weights = [
                sum(a * b for a, b in zip(q[h][v][n], q[h][w][n], strict=True))
                for h in range(len(q))
                for v in range(targets)
                for w in range(v + 1, targets)
            ]
            weight = sum(weights) / len(weights)
            for h, shares in enumerate(self.shares):
                for i in range(len(p[h])):
                    for j in range(targets):
                        if i != j:
                            total = 0
                            for c in range(len(shares)):
                                total = total + (p[h][i][n][c] * q[h][j][n][c]) ** self.beta / shares[c]
                            losses.append(-weight * torch.log(total))
        return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("sizes", "views", "global_views"), [((4,), 2, 2), ((3, 5), 3, 2), ((4, 3, 4), 4, 2), ((2, 2), 3, 3)]
)
@pytest.mark.parametrize("with_teacher", [False, True], ids=["student", "teacher"])
@pytest.mark.parametrize("options", [{}, {"beta": 1.0, "momentum": 0.3, "temperature": 0.5}])
def test_equals_the_formula_over_steps(
    sizes: tuple[int, ...], views: int, global_views: int, with_teacher: bool, options: dict[str, float]
) -> None:
    loss, formula = make_loss(*sizes, view_count=views, **options), Formula(*sizes, **options)
    for step in range(3):
        logits = draw_logits(*sizes, views=views, seed=step)
        leaves = [view.requires_grad_() for per_view in logits for view in per_view]
        teacher = draw_logits(*sizes, views=global_views, seed=100 + step) if with_teacher else None
        output = loss(logit_views(logits, global_views, teacher))
        targets = teacher or [[view.detach() for view in per_view[:global_views]] for per_view in logits]
        expected = formula(logits, targets)
        assert output.total.item() == pytest.approx(expected.item(), abs=1e-10)
        for own, other in zip(gradients(output.total, leaves), gradients(expected, leaves), strict=True):
            assert other.abs().max() > 1e-4
            torch.testing.assert_close(own, other, rtol=0, atol=1e-10)
        mean = sum(value.item() for value in output.per_classifier) / len(sizes)
        assert mean == pytest.approx(expected.item(), abs=1e-10)
    for size in set(sizes):
        expected_shares = [shares for shares in formula.shares if len(shares) == size]
        torch.testing.assert_close(
            loss.get_buffer(f"shares.shares_{size}"),
            torch.tensor(expected_shares, dtype=torch.float64),
            rtol=0,
            atol=1e-10,
        )


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = [[view.requires_grad_() for view in views] for views in draw_logits(4, seed=1)]
    logits = [[view.requires_grad_() for view in views] for views in draw_logits(4)]
    make_loss(4)(logit_views(logits, teacher=teacher)).total.backward()
    assert all(view.grad is None for view in teacher[0])
    assert all(view.grad is not None and view.grad.any() for view in logits[0])


def test_the_losses_of_classifiers_are_in_order() -> None:
    logits = draw_logits(3, 4, 3)
    values = make_loss(3, 4, 3)(logit_views(logits)).per_classifier
    # Classifiers share the weight, so each is compared with its own loss at equal logits of the others.
    swapped = make_loss(3, 4, 3)(logit_views([logits[2], logits[1], logits[0]])).per_classifier
    for one, other in zip(values, swapped[::-1], strict=True):
        assert one.item() == pytest.approx(other.item(), abs=1e-12)
    assert abs(values[0].item() - values[2].item()) > 1e-3


def test_class_shares_do_not_change_in_eval_mode() -> None:
    loss = make_loss(4).eval()
    loss(logit_views(draw_logits(4)))
    torch.testing.assert_close(loss.get_buffer("shares.shares_4"), torch.full((1, 4), 0.25, dtype=torch.float64))


def test_the_weight_is_low_for_views_of_different_classes() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    same = make_loss(3)(logit_views([[eye, eye]]))
    different = make_loss(3)(logit_views([[eye, eye.roll(1, 1)]]))
    assert same.terms["weight"].item() > 0.99
    assert different.terms["weight"].item() < 1e-3
    # Certain, balanced agreement: log(K).
    assert same.total.item() == pytest.approx(-math.log(3), abs=2e-3)
    assert same.terms["class_balance"].item() == pytest.approx(1)


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
def test_a_constant_added_to_an_images_logits_does_not_change_the_loss(
    classes: int, images: int, scale: float, seed: int
) -> None:
    logits = draw_logits(classes, batch=images, seed=seed, scale=scale)
    shifted = [[view + torch.arange(images, dtype=torch.float64)[:, None] for view in views] for views in logits]
    before, after = (make_loss(classes)(logit_views(own)).total.item() for own in (logits, shifted))
    assert math.isfinite(before)
    assert after == pytest.approx(before, abs=1e-8)


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_large_logits_give_finite_values(scale: float) -> None:
    views = [(scale * view).float().requires_grad_() for view in draw_logits(4)[0]]
    loss = make_loss(4).float()
    output = loss(logit_views([views]))
    output.total.backward()
    assert output.total.isfinite()
    assert all(view.grad is not None and view.grad.isfinite().all() for view in views)


def test_a_class_that_no_image_has_gives_finite_values() -> None:
    loss = make_loss(3).float()
    with torch.no_grad():
        loss.get_buffer("shares.shares_3").copy_(torch.tensor([[0.0, 0.5, 0.5]]))
    view = torch.tensor([[-1e4, 0.0, 0.1], [-1e4, 0.1, 0.0]], requires_grad=True)
    total = loss(logit_views([[view, view]])).total
    total.backward()
    assert total.isfinite()
    assert view.grad is not None
    assert view.grad.isfinite().all()


def test_invalid_classes_and_options_raise() -> None:
    with pytest.raises(sslkit.InputError, match="temi loss needs classifiers of at least two classes"):
        make_loss(4, 1)
    for invalid in ({"beta": 0.0}, {"beta": 1.5}, {"momentum": 1.0}):
        with pytest.raises(ValueError, match="validation error"):
            Temi.Options(**invalid)
