"""The Self-Classifier loss, compared with a scalar implementation of its formula, known values and symmetries."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit_selfcls.loss import SelfClassifierLoss

Logits = list[list[Tensor]]


def make_loss(view_count: int = 2, world: sslkit.World | None = None, **options: float) -> SelfClassifierLoss:
    context = sslkit.Context(
        1, 8, (0.5,), (0.5,), 4, 1, 1, view_count=view_count, embedding_dim=5, world=world or sslkit.World()
    )
    return SelfClassifierLoss(SelfClassifierLoss.Options(**options), context)


def outputs(logits: Logits, global_views: int = 2) -> sslkit.ViewOutputs:
    views, batch = len(logits[0]), len(logits[0][0])
    branch = sslkit.BranchOutputs(
        tuple(torch.zeros(batch, 3) for _ in range(views)), logits=tuple(tuple(per_view) for per_view in logits)
    )
    return sslkit.ViewOutputs({"student": branch}, global_views, torch.arange(batch))


def draw(*sizes: int, views: int = 2, batch: int = 6, seed: int = 0) -> Logits:
    generator = torch.Generator().manual_seed(seed)
    return [
        [(torch.rand(batch, size, generator=generator, dtype=torch.float64) * 2 - 1) for _ in range(views)]
        for size in sizes
    ]


def formula(logits: Logits, global_views: int, row: float = 0.1, column: float = 0.05) -> float:
    """Compute the paper's formula with Python floats."""
    eps = 1e-12
    classifier_losses = []
    for views in logits:
        values = [view.tolist() for view in views]
        images, classes = len(values[0]), len(values[0][0])
        targets, predictions = [], []
        for x in values:
            down = [sum(math.exp(x[n][c] / column) for n in range(images)) for c in range(classes)]
            soft = [[math.exp(x[n][c] / column) / down[c] for c in range(classes)] for n in range(images)]
            targets.append([[value / max(sum(line), eps) for value in line] for line in soft])
            across = [sum(math.exp(value / row) for value in line) for line in x]
            p = [[math.exp(x[n][c] / row) / across[n] for c in range(classes)] for n in range(images)]
            used = [max(sum(p[n][c] for n in range(images)), eps) for c in range(classes)]
            predictions.append(
                [[math.log(images / classes * p[n][c] / used[c] + eps) for c in range(classes)] for n in range(images)]
            )
        pair_losses = []
        for i in range(len(values)):
            for j in range(len(values)):
                if i == j or (i >= global_views and j >= global_views):
                    continue
                pair_losses.append(
                    -sum(targets[i][n][c] * predictions[j][n][c] for n in range(images) for c in range(classes))
                    / images
                )
        classifier_losses.append(sum(pair_losses) / len(pair_losses))
    return sum(classifier_losses) / len(classifier_losses)


@pytest.mark.parametrize(
    ("sizes", "views", "global_views"),
    [((4,), 2, 2), ((3, 5), 3, 2), ((4, 7, 4), 5, 2), ((3,), 3, 1), ((2, 2), 4, 4)],
)
def test_equals_the_formula(sizes: tuple[int, ...], views: int, global_views: int) -> None:
    logits = draw(*sizes, views=views)
    output = make_loss(views)(outputs(logits, global_views))
    assert output.total.shape == ()
    assert output.total.dtype == torch.float64
    assert output.total.item() == pytest.approx(formula(logits, global_views), abs=1e-10)
    for per_view, value in zip(logits, output.per_classifier, strict=True):
        assert value.item() == pytest.approx(formula([per_view], global_views), abs=1e-10)


def test_equals_the_formula_at_other_temperatures() -> None:
    logits = draw(4)
    output = make_loss(row_temperature=0.3, column_temperature=0.7)(outputs(logits))
    assert output.total.item() == pytest.approx(formula(logits, 2, 0.3, 0.7), abs=1e-10)


def test_equals_the_formula_where_eps_matters() -> None:
    logits = [[5 * view for view in draw(4)[0]]]
    output = make_loss()(outputs(logits))
    assert output.total.item() == pytest.approx(formula(logits, 2), abs=1e-10)


def authors_loss(logits: Logits, row: float = 0.1, column: float = 0.05, eps: float = 1e-12) -> Tensor:
    """Compute the loss as the authors' ``loss.py``, with the ``eps`` that their ``train.py`` passes."""
    terms = []
    for views in logits:
        targets = [normalize((view / column).softmax(0), p=1, dim=1, eps=eps) for view in views]
        for j, view in enumerate(views):
            predicted = normalize((view / row).softmax(1), p=1, dim=0, eps=eps)
            logarithm = (len(view) / view.shape[1] * predicted + eps).log()
            for i, target in enumerate(targets):
                if i != j and (i < 2 or j < 2):
                    terms.append(-(target * logarithm).sum(1).mean())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("gain", [1, 3, 10])
def test_equals_the_authors_code_with_trained_gains(gain: int) -> None:
    """Gains scale the logits, which are cosines; from about 3 on, eps decides the loss of a wrong prediction."""
    logits = [[(gain * view).requires_grad_() for view in views] for views in draw(4, 6, views=4)]
    expected = authors_loss(logits)
    output = make_loss(4)(outputs(logits))
    assert output.total.item() == pytest.approx(expected.item(), abs=1e-11)
    flat = [view for views in logits for view in views]
    gradients = [torch.autograd.grad(total, flat) for total in (output.total, expected)]
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-11)
    if gain == 3:
        other_eps = authors_loss(logits, eps=1e-8).item()
        assert abs(expected.item() - other_eps) > 0.1, "eps has no influence, so the test proves nothing"


def test_gradients() -> None:
    logits = [view.requires_grad_() for per_view in draw(3, 3, 4, views=3, batch=4) for view in per_view]
    loss = make_loss(3, row_temperature=0.4, column_temperature=0.3)

    def total(*flat: Tensor) -> Tensor:
        return loss(outputs([list(flat[k : k + 3]) for k in (0, 3, 6)])).total

    assert torch.autograd.gradcheck(total, logits)


def test_targets_are_not_detached() -> None:
    per_view = draw(3)[0]
    per_view[0].requires_grad_()
    per_view[1].requires_grad_()
    make_loss()(outputs([per_view])).total.backward()
    detached = [view.detach().requires_grad_() for view in per_view]
    q = (detached[0] / 0.05).softmax(0).detach()
    p = (detached[1] / 0.1).softmax(1)
    (-((q / q.sum(1, keepdim=True)) * (p / p.sum(0) * 2 + 1e-12).log()).sum(1).mean() / 2).backward()
    # The gradient through the prediction is only a part of the gradient of the view.
    assert per_view[1].grad is not None
    assert detached[1].grad is not None
    assert (per_view[1].grad - detached[1].grad).abs().max() > 1e-3


@pytest.mark.parametrize(
    "permute",
    [
        lambda per_view: [per_view[1], per_view[0], per_view[3], per_view[2]],
        lambda per_view: [view[:, torch.tensor([2, 0, 3, 1])] for view in per_view],
        lambda per_view: [view[torch.tensor([5, 0, 3, 1, 4, 2])] for view in per_view],
    ],
    ids=["views", "classes", "images"],
)
def test_permutations_do_not_change_the_loss(permute: Callable[[list[Tensor]], list[Tensor]]) -> None:
    per_view = draw(4, views=4)[0]
    before, after = (make_loss(4)(outputs([views])).total.item() for views in (per_view, permute(per_view)))
    assert after == pytest.approx(before, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 10])
def test_a_constant_prediction_has_a_loss_of_ln_c(classes: int) -> None:
    constant = [torch.zeros(12, classes, dtype=torch.float64)] * 2
    output = make_loss()(outputs([constant]))
    assert output.total.item() == pytest.approx(math.log(classes), abs=1e-6)
    assert output.terms["class_balance"].item() == pytest.approx(1)


def test_one_class_for_all_images_has_a_loss_of_ln_c() -> None:
    collapsed = torch.zeros(12, 10, dtype=torch.float64)
    collapsed[:, 3] = 1
    output = make_loss()(outputs([[collapsed] * 2]))
    assert output.total.item() == pytest.approx(math.log(10), abs=1e-3)
    assert output.terms["class_balance"].item() < 0.01


def test_certain_and_balanced_predictions_have_a_loss_of_zero() -> None:
    perfect = 4 * torch.eye(4, dtype=torch.float64).repeat(3, 1)
    assert make_loss()(outputs([[perfect] * 2])).total.item() == pytest.approx(0, abs=1e-7)


def test_pairs_of_local_views_are_ignored() -> None:
    shared, *local = draw(4, views=3)[0]
    flat = torch.zeros_like(shared)
    # Agreement between local views does not reduce the loss.
    agreeing = make_loss(3)(outputs([[flat, local[0], local[0]]], global_views=1)).total
    different = make_loss(3)(outputs([[flat, local[0], local[1]]], global_views=1)).total
    first = make_loss(2)(outputs([[flat, local[0]]], global_views=1)).total
    second = make_loss(2)(outputs([[flat, local[1]]], global_views=1)).total
    assert agreeing.item() == pytest.approx(first.item(), abs=1e-12)
    assert different.item() == pytest.approx((first.item() + second.item()) / 2, abs=1e-12)


def test_several_classifiers_are_averaged_in_order() -> None:
    output = make_loss()(outputs(draw(4, 3, 4, 6)))
    assert output.total.item() == pytest.approx(sum(map(float, output.per_classifier)) / 4, abs=1e-12)
    assert not any(value.requires_grad for value in output.per_classifier)


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_large_logits_give_finite_values(scale: float) -> None:
    per_view = [(scale * view).float().requires_grad_() for view in draw(4)[0]]
    output = make_loss()(outputs([per_view]))
    output.total.backward()
    assert output.total.isfinite()
    assert all(view.grad is not None and view.grad.isfinite().all() for view in per_view)


def test_half_precision_logits_are_computed_in_float32() -> None:
    per_view = [view.bfloat16() for view in draw(4)[0]]
    with torch.autocast("cpu", torch.bfloat16):
        total = make_loss()(outputs([per_view])).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(formula([[view.double() for view in per_view]], 2), rel=1e-5)


def test_too_few_classes_raise() -> None:
    with pytest.raises(sslkit.InputError, match="at least two classes"):
        SelfClassifierLoss(
            SelfClassifierLoss.Options(), sslkit.Context(1, 8, (0.5,), (0.5,), 4, 1, 1, classifiers=(3, 1))
        )
    with pytest.raises(ValueError, match="greater than 0"):
        SelfClassifierLoss.Options(row_temperature=0.0)
