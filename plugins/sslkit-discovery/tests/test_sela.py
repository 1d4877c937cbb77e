"""The SeLa loss against the paper's formulas, the equal partition, and the steps in which labels change."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy
import pytest
import torch
from logit_views import float64_buffers, gradients, logit_context
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit_discovery.offline_clustering.equal_partition import equal_partition
from sslkit_discovery.offline_clustering.sela import SeLa

IMAGES, BATCH, DIM = 12, 6, 5


def make_loss(*sizes: int, facts: dict[str, int] | None = None, **options: float) -> SeLa:
    with float64_buffers():
        return SeLa(SeLa.Options(**options), replace(logit_context(*sizes), **facts or {}))


def draw(*shape: int, seed: int) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def outputs(embeddings: list[Tensor], weights: list[Tensor]) -> sslkit.BranchOutputs:
    def classify(embedding: Tensor) -> tuple[Tensor, ...]:
        return tuple(embedding @ matrix.T for matrix in weights)

    logits = tuple(zip(*map(classify, embeddings), strict=True))
    return sslkit.BranchOutputs(tuple(embeddings), tuple(embeddings), logits, classify)


def make_views(
    embeddings: list[Tensor], weights: list[Tensor], index: list[int], step: int, global_views: int = 2
) -> sslkit.ViewOutputs:
    return sslkit.ViewOutputs({"student": outputs(embeddings, weights)}, global_views, torch.tensor(index), step)


def sinkhorn(embeddings: numpy.ndarray, weight: numpy.ndarray, temperature: float, sharpness: float) -> list[int]:
    """Return the labels of the authors' algorithm, which scales the rows and columns of ``p ** lambda``."""
    p = numpy.exp(embeddings @ weight.T / temperature)
    powers = (p / p.sum(1, keepdims=True)) ** sharpness  # [N, K]
    images, classes = powers.shape
    columns, rows = numpy.ones(classes) / classes, numpy.ones(images) / images
    for _ in range(300):
        columns = 1 / classes / (rows @ powers)
        rows = 1 / images / (powers @ columns)
    plan = rows[:, None] * powers * columns
    numpy.testing.assert_allclose(plan.sum(0), 1 / classes, rtol=1e-2)
    return plan.argmax(1).tolist()


@pytest.mark.parametrize(("sizes", "views"), [((4,), 1), ((3, 5, 3), 3)])
@pytest.mark.parametrize(("temperature", "sharpness"), [(0.5, 5.0), (1.0, 25.0)])
def test_equals_the_formula_over_steps(
    sizes: tuple[int, ...], views: int, temperature: float, sharpness: float
) -> None:
    """Three epochs of two batches: labels change in the steps 0, 1, 2 and 4."""
    facts = {"view_count": views, "global_view_count": views, "epochs": 3}
    options = {"temperature": temperature, "sharpness": sharpness, "sinkhorn_iterations": 300, "assignments": 4}
    loss = make_loss(*sizes, facts=facts, **options)
    memory = draw(IMAGES, DIM, seed=99)
    loss.prepare(outputs([memory], [draw(size, DIM, seed=0) for size in sizes]))
    memory, labels = memory.numpy().copy(), [[-1] * IMAGES for _ in sizes]
    for step in range(6):
        embeddings = [draw(BATCH, DIM, seed=10 * step + view).requires_grad_() for view in range(views)]
        weights = [draw(size, DIM, seed=1000 * place + step).requires_grad_() for place, size in enumerate(sizes)]
        index = [2 * image + step % 2 for image in range(BATCH)]
        changed = None
        if step in (0, 1, 2, 4):
            new = [sinkhorn(memory, weight.detach().numpy(), temperature, sharpness) for weight in weights]
            changed = numpy.mean(numpy.array(new) != numpy.array(labels))
            labels = new
        output = loss(make_views(embeddings, weights, index, step, views))
        expected = []
        for weight, label in zip(weights, labels, strict=True):
            each = []
            for view in embeddings:
                for row, image in zip(view, index, strict=True):
                    exponentials = torch.exp(weight @ row / temperature)
                    each.append(-torch.log(exponentials[label[image]] / exponentials.sum()))
            expected.append(sum(each) / len(each))
        for value, other in zip(output.per_classifier, expected, strict=True):
            assert value.item() == pytest.approx(other.item(), abs=1e-10)
        total = sum(expected) / len(expected)
        leaves = [*embeddings, *weights]
        for own, other in zip(gradients(output.total, leaves), gradients(total, leaves), strict=True):
            assert other.abs().max() > 1e-4
            torch.testing.assert_close(own, other, rtol=0, atol=1e-10)
        for place, label in enumerate(labels):
            group = next(number for number, places in enumerate(loss.groups.indices) if place in places)
            row = loss.groups.indices[group].index(place)
            assert loss.labels[group].labels[row].tolist() == label
        if changed is not None and len(set(sizes)) == 1:
            assert output.terms["changed"].item() == pytest.approx(changed)
        hits = [
            float((weight @ row).argmax() == label[image])
            for weight, label in zip(weights, labels, strict=True)
            for row, image in zip(embeddings[0], index, strict=True)
        ]
        assert output.terms["agreement"].item() == pytest.approx(sum(hits) / len(hits))
        smallest = [
            min(label.count(k) for k in range(size)) * size / IMAGES for label, size in zip(labels, sizes, strict=True)
        ]
        assert output.terms["smallest_class"].item() == pytest.approx(sum(smallest) / len(smallest))
        memory[index] = embeddings[0].detach().numpy()


def test_a_sharp_partition_is_the_best_assignment_to_classes_of_equal_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each class has the same size, and no other labels of this kind have a larger sum of logits."""
    monkeypatch.setattr("sslkit_discovery.offline_clustering.equal_partition.ROWS_AT_A_TIME", 13)
    groups = sslkit.ClassifierGroups((3, 4, 3))
    logits = [torch.rand(36, size, generator=torch.Generator().manual_seed(size)).double() for size in (3, 4, 3)]
    logits[0][:, 0] += 0.5  # most images prefer class 0
    rows = torch.cat(logits, 1)
    (first, third), (second,) = equal_partition(rows, lambda block: block.split([3, 4, 3], 1), groups, 300.0, 500)
    for label, scores in zip((first, second, third), logits, strict=True):
        size = scores.shape[1]
        assert torch.bincount(label, minlength=size).tolist() == [36 // size] * size
        assert label.tolist() != scores.argmax(1).tolist()
        images, slots = linear_sum_assignment(-numpy.repeat(scores.numpy(), 36 // size, 1))
        assert label[torch.tensor(images)].tolist() == (slots // (36 // size)).tolist()


def test_assignments_are_at_squares_of_the_trained_fraction() -> None:
    loss = make_loss(3, facts={"epochs": 50}, assignments=10)  # 100 steps
    assert sorted(loss.assignment_steps) == [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]
    assert [step for step in range(100) if loss.phase(step)] == sorted(loss.assignment_steps)
    assert len(make_loss(3, assignments=1000).assignment_steps) <= 3, "at most one assignment per step"


def test_images_without_embeddings_are_left_out() -> None:
    """After resuming with other training images, only images that were seen since then have labels."""
    loss, weights = make_loss(3, assignments=2, facts={"epochs": 4}), [draw(3, DIM, seed=1)]
    loss.prepare(outputs([draw(IMAGES, DIM, seed=2)], weights))
    loss(make_views([draw(BATCH, DIM, seed=0)] * 2, weights, list(range(BATCH)), 0))
    state = copy.deepcopy(loss.state_dict())
    same = make_loss(3, assignments=2, facts={"epochs": 4})
    fewer = make_loss(3, assignments=2, facts={"epochs": 4, "training_images": 9})
    same.load_state_dict(state)
    fewer.load_state_dict(state)
    assert torch.equal(same.labels[0].labels, loss.labels[0].labels)
    views = [draw(BATCH, DIM, seed=view).requires_grad_() for view in range(2)]
    output = fewer(make_views(views, weights, list(range(BATCH)), 1))  # no image has a label
    assert output.total.item() == 0
    fewer(make_views(views, weights, list(range(BATCH)), 2))  # an assignment
    assert (fewer.labels[0].labels[0] >= 0).tolist() == [True] * BATCH + [False] * 3
    with_unknown = fewer(make_views(views, weights, [0, 1, 2, 6, 7, 8], 3)).total
    assert with_unknown.item() == pytest.approx(
        fewer(make_views([view[:3] for view in views], weights, [0, 1, 2], 3)).total.item()
    )


def test_a_uniform_guess_has_a_loss_of_ln_k() -> None:
    loss, weights = make_loss(4), [draw(4, DIM, seed=0)]
    loss.prepare(outputs([draw(IMAGES, DIM, seed=2)], weights))
    flat = [torch.zeros(BATCH, DIM, dtype=torch.float64)] * 2
    assert loss(make_views(flat, weights, list(range(BATCH)), 0)).per_classifier[0].item() == pytest.approx(math.log(4))


def test_nothing_is_stored_in_eval_mode() -> None:
    loss, weights = make_loss(3), [draw(3, DIM, seed=1)]
    loss.prepare(outputs([draw(IMAGES, DIM, seed=2)], weights))
    before = copy.deepcopy(loss.state_dict())
    loss.eval()(make_views([draw(BATCH, DIM, seed=0)] * 2, weights, list(range(BATCH)), 0))
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_invalid_contexts_raise() -> None:
    with pytest.raises(sslkit.InputError, match="stores a label for each training image, but their number is 0"):
        make_loss(4, facts={"training_images": 0})
    with pytest.raises(sslkit.InputError, match="sela loss needs classifiers of at least two classes"):
        make_loss(1)
    loss, branch = make_loss(4), outputs([draw(BATCH, DIM, seed=0)] * 2, [draw(4, DIM, seed=1)])
    branch = sslkit.BranchOutputs(branch.features, branch.embeddings, branch.logits)
    with pytest.raises(sslkit.InputError, match=r"needs BranchOutputs\.classify, which the method does not set"):
        loss(sslkit.ViewOutputs({"student": branch}, 2, torch.arange(BATCH)))
