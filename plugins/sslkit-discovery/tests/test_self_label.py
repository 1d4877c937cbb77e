"""The self-labelling loss against the paper's formula in loops, its terms, and batches without confident images."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logit_views import Logits, draw_logits, float64_buffers, gradients, logit_context, logit_views
from torch import Tensor

import sslkit
from sslkit_discovery.self_label import SHARE_MOMENTUM, SelfLabel


def make_loss(*sizes: int, view_count: int = 2, **options: float) -> SelfLabel:
    with float64_buffers():
        return SelfLabel(SelfLabel.Options(**options), logit_context(*sizes, view_count=view_count))


def softmax(row: Tensor, temperature: float) -> list[Tensor]:
    exponentials = [torch.exp(value / temperature) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def formula(logits: Logits, threshold: float = 0.99, temperature: float = 0.1) -> tuple[Tensor, list[dict[int, int]]]:
    """Compute the weighted cross-entropy image by image; also return the pseudo-labels by image."""
    losses, all_labels = [], []
    for views in logits:
        labels: dict[int, int] = {}
        for n, row in enumerate(views[0]):
            p = [value.item() for value in softmax(row, temperature)]
            if max(p) >= threshold:
                labels[n] = p.index(max(p))
        all_labels.append(labels)
        counts = {label: list(labels.values()).count(label) for label in labels.values()}
        weights = {n: len(labels) / counts[label] for n, label in labels.items()}
        view_losses = []
        for view in views[1:]:
            if labels:
                weighted = sum(-weights[n] * torch.log(softmax(view[n], temperature)[labels[n]]) for n in labels)
                view_losses.append(weighted / sum(weights.values()))
            else:
                view_losses.append(0.0 * view.sum())
        losses.append(sum(view_losses) / len(view_losses))
    return sum(losses) / len(losses), all_labels


@pytest.mark.parametrize(("sizes", "views"), [((4,), 2), ((3, 5), 3), ((4, 3, 4), 2), ((2, 2), 4)])
@pytest.mark.parametrize("options", [{"threshold": 0.8}, {"threshold": 0.0, "temperature": 0.7}, {"threshold": 0.95}])
def test_equals_the_formula(sizes: tuple[int, ...], views: int, options: dict[str, float]) -> None:
    logits = draw_logits(*sizes, views=views, batch=12)
    leaves = [view.requires_grad_() for per_view in logits for view in per_view]
    output = make_loss(*sizes, view_count=views, **options)(logit_views(logits))
    expected, labels = formula(logits, **options)
    assert all(labels), "a classifier has no confident image, so the test proves little"
    assert output.total.item() == pytest.approx(expected.item(), abs=1e-10)
    reached = 0
    for own, other in zip(gradients(output.total, leaves), gradients(expected, leaves), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-10)
        reached += bool(other.abs().max() > 1e-4)
    assert reached == len(sizes) * (views - 1), "all views but the first are trained"

    confident = [len(own) / 12 for own in labels]
    assert output.terms["confident"].item() == pytest.approx(sum(confident) / len(sizes))
    present = [len(set(own.values())) / size for own, size in zip(labels, sizes, strict=True)]
    assert output.terms["classes_present"].item() == pytest.approx(sum(present) / len(sizes))
    agreement = [
        sum(int(view[n].argmax()) == label for view in per_view[1:] for n, label in own.items())
        / (len(own) * (views - 1))
        for per_view, own in zip(logits, labels, strict=True)
    ]
    assert output.terms["agreement"].item() == pytest.approx(sum(agreement) / len(sizes))
    smallest = []
    for own, size in zip(labels, sizes, strict=True):
        shares = [list(own.values()).count(c) / len(own) for c in range(size)]
        smallest.append(min(SHARE_MOMENTUM / size + (1 - SHARE_MOMENTUM) * share for share in shares) * size)
    assert output.terms["smallest_class"].item() == pytest.approx(sum(smallest) / len(sizes), abs=1e-10)


def test_without_a_confident_image_loss_and_gradient_are_zero() -> None:
    loss = make_loss(4, 3)
    logits = [[(0.01 * view).requires_grad_() for view in views] for views in draw_logits(4, 3)]
    output = loss(logit_views(logits))
    assert output.total.item() == 0
    assert output.total.requires_grad
    output.total.backward()
    for view in (view for views in logits for view in views):
        assert view.grad is not None
        assert not view.grad.any()
    terms = {name: value.item() for name, value in output.terms.items()}
    assert terms == pytest.approx({"confident": 0, "classes_present": 0, "agreement": 0, "smallest_class": 1})
    assert [value.item() for value in output.per_classifier] == pytest.approx([math.log(4), math.log(3)])


def test_classes_have_equal_weights() -> None:
    """Five images of class 0 and one of class 1: both classes have half of the loss."""
    weak = torch.eye(2, dtype=torch.float64)[[0, 0, 0, 0, 0, 1]]
    strong = torch.zeros(6, 2, dtype=torch.float64)
    right, wrong = strong.clone(), strong.clone()
    right[5] = torch.tensor([0.0, 10.0])
    wrong[:5] = torch.tensor([10.0, 0.0])
    one, other = (make_loss(2)(logit_views([[weak, view]])).total.item() for view in (right, wrong))
    assert one == pytest.approx(math.log(2) / 2, abs=1e-6)
    assert other == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_lowest_loss_does_not_select_a_collapsed_classifier() -> None:
    collapsed = torch.eye(4, dtype=torch.float64)[[0] * 8]
    unsure = torch.zeros(8, 4, dtype=torch.float64)
    good = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3] * 2]
    noisy = 0.8 * good + 0.2
    logits = [[collapsed] * 2, [unsure] * 2, [good, noisy]]
    losses = [value.item() for value in make_loss(4, 4, 4)(logit_views(logits)).per_classifier]
    assert losses[0] == pytest.approx(0.75 * math.log(4), abs=1e-2)
    assert losses[1] == pytest.approx(math.log(4))
    assert losses[2] < 0.1


def test_a_vanishing_class_lowers_smallest_class_over_steps() -> None:
    loss = make_loss(4)
    balanced = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3]]
    lost = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 0]]
    assert loss(logit_views([[balanced] * 2])).terms["smallest_class"].item() == pytest.approx(1)
    values = [loss(logit_views([[lost] * 2])).terms["smallest_class"].item() for _ in range(100)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.99**100)
    loss.eval()
    loss(logit_views([[balanced] * 2]))
    assert loss.get_buffer("shares.shares_4")[0, 3].item() == pytest.approx(0.99**100 / 4)


@settings(deadline=None, max_examples=40)
@given(classes=st.integers(2, 6), images=st.integers(1, 9), scale=st.floats(0, 5), seed=st.integers(0, 999))
def test_order_of_images_and_classes_and_shifts_do_not_change_the_loss(
    classes: int, images: int, scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    order, names = torch.randperm(images, generator=generator), torch.randperm(classes, generator=generator)
    (views,) = draw_logits(classes, views=3, batch=images, seed=seed, scale=scale)
    before = make_loss(classes)(logit_views([views]))
    changed = make_loss(classes)(logit_views([[view[order][:, names] + 3 for view in views]]))
    assert before.total.item() >= 0
    assert changed.total.item() == pytest.approx(before.total.item(), abs=1e-9)
    for name, value in before.terms.items():
        assert changed.terms[name].item() == pytest.approx(value.item(), abs=1e-9)


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_large_logits_give_finite_values(scale: float) -> None:
    views = [(scale * view).float().requires_grad_() for view in draw_logits(4)[0]]
    output = make_loss(4).float()(logit_views([views]))
    output.total.backward()
    assert output.total.isfinite()
    assert output.terms["confident"].item() == 1
    assert views[1].grad is not None
    assert views[1].grad.isfinite().all()


def test_invalid_classes_and_options_raise() -> None:
    with pytest.raises(sslkit.InputError, match="self-label loss needs classifiers of at least two classes"):
        make_loss(4, 1)
    with pytest.raises(ValueError, match="less than 1"):
        SelfLabel.Options(threshold=1.0)
