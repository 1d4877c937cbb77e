"""The SeCu loss against the paper's formula in loops, its assignments, and which weights each part trains."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logit_views import float64_buffers, gradients, logit_context
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit_discovery.assignments import Assignments
from sslkit_discovery.secu import SeCu


def make_loss(*sizes: int, facts: dict[str, int] | None = None, **options: float) -> SeCu:
    with float64_buffers():
        return SeCu(SeCu.Options(**options), logit_context(*sizes, **facts or {}))


def draw(*shape: int, seed: int) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def secu_views(
    embeddings: list[Tensor], prototypes: list[Tensor], index: list[int], global_views: int = 2
) -> sslkit.ViewOutputs:
    def classify(embedding: Tensor) -> tuple[Tensor, ...]:
        return tuple(embedding @ matrix.T for matrix in prototypes)

    logits = tuple(zip(*map(classify, embeddings), strict=True))
    branch = sslkit.BranchOutputs(tuple(embeddings), tuple(embeddings), logits, classify)
    return sslkit.ViewOutputs({"student": branch}, global_views, torch.tensor(index))


class Formula:
    """Algorithm of the paper for one classifier, image by image and class by class."""

    def __init__(
        self, classes: int, temperature: float, label_weight: float, lower_bound: float, dual_lr: float
    ) -> None:
        self.classes, self.temperature, self.label_weight = classes, temperature, label_weight
        self.lower_bound, self.dual_lr = lower_bound, dual_lr
        self.duals = [0.0] * classes
        self.labels: dict[int, int] = {}

    def softmax(self, logits: list[Tensor]) -> list[Tensor]:
        exponentials = [torch.exp(value / self.temperature) for value in logits]
        return [value / sum(exponentials) for value in exponentials]

    def __call__(self, embeddings: list[Tensor], prototypes: Tensor, index: list[int], global_views: int) -> Tensor:
        views, images, classes = len(embeddings), len(index), range(self.classes)

        def cosine(view: int, image: int, c: int, trained: str) -> Tensor:
            embedding, prototype = embeddings[view][image], prototypes[c]
            embedding = embedding if trained == "embedding" else embedding.detach()
            prototype = prototype if trained == "prototype" else prototype.detach()
            return sum(a * b for a, b in zip(embedding, prototype, strict=True))

        labels, last = [], []
        for n in range(images):
            objective = [
                sum(cosine(v, n, c, "nothing").item() for v in range(global_views)) / global_views + self.duals[c]
                for c in classes
            ]
            labels.append(objective.index(max(objective)))
            last.append(self.labels.get(index[n], labels[n]))

        centres, prediction = [], []
        for n in range(images):
            for i in range(views):
                # Equation 5: only the logit of the image's own class trains a prototype.
                logits = [cosine(i, n, c, "prototype" if c == labels[n] else "nothing") for c in classes]
                centres.append(-torch.log(self.softmax(logits)[labels[n]]))
                for j in range(global_views):
                    if i != j:
                        p = self.softmax([cosine(i, n, c, "embedding") for c in classes])
                        other = self.softmax([cosine(j, n, c, "nothing") for c in classes])
                        target = [(1 - self.label_weight) * value for value in other]
                        target[last[n]] = target[last[n]] + self.label_weight
                        prediction.append(-sum(t * torch.log(q) for t, q in zip(target, p, strict=True)))

        for n in range(images):
            self.labels[index[n]] = labels[n]
        for c in classes:
            self.duals[c] += self.dual_lr * (self.lower_bound / self.classes - labels.count(c) / images)
            if self.lower_bound < 1:
                self.duals[c] = max(self.duals[c], 0.0)
        return sum(centres) / len(centres) + sum(prediction) / len(prediction)


@pytest.mark.parametrize(
    ("sizes", "views", "global_views"), [((4,), 2, 2), ((3, 5), 3, 2), ((4, 3, 4), 2, 2), ((2,), 3, 3)]
)
@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.05, "label_weight": 0.2, "lower_bound": 0.9, "dual_lr": 0.1},
        {"temperature": 0.3, "label_weight": 0.7, "lower_bound": 1.0, "dual_lr": 0.5},
    ],
    ids=["defaults", "equal sizes"],
)
def test_equals_the_formula_over_steps(
    sizes: tuple[int, ...], views: int, global_views: int, options: dict[str, float]
) -> None:
    """Three epochs of two batches: the second and third use the labels of the epoch before."""
    assert options["lower_bound"] == 1 or SeCu.Options() == SeCu.Options(**options)
    loss = make_loss(*sizes, facts={"view_count": views}, **options)
    formulas = [Formula(size, **options) for size in sizes]
    for step in range(6):
        embeddings = [draw(6, 5, seed=10 * step + view).requires_grad_() for view in range(views)]
        prototypes = [draw(size, 5, seed=1000 * place + step).requires_grad_() for place, size in enumerate(sizes)]
        index = [2 * image + step % 2 for image in range(6)]
        output = loss(secu_views(embeddings, prototypes, index, global_views))
        expected = [
            formula(embeddings, matrix, index, global_views)
            for formula, matrix in zip(formulas, prototypes, strict=True)
        ]
        for value, other in zip(output.per_classifier, expected, strict=True):
            assert value.item() == pytest.approx(other.item() / 2, abs=1e-10)
        total = sum(expected) / len(expected)
        assert output.total.item() == pytest.approx(total.item(), abs=1e-10)
        leaves = [*embeddings, *prototypes]
        for own, other in zip(gradients(output.total, leaves), gradients(total, leaves), strict=True):
            assert other.abs().max() > 1e-4
            torch.testing.assert_close(own, other, rtol=0, atol=1e-10)
    for place, formula in enumerate(formulas):
        group = next(number for number, indices in enumerate(loss.groups.indices) if place in indices)
        row = loss.groups.indices[group].index(place)
        stored = loss.assignments[group]
        assert stored.labels[row].tolist() == [formula.labels[image] for image in range(12)]
        assert stored.sizes[row].tolist() == [list(formula.labels.values()).count(c) for c in range(formula.classes)]
        assert stored.duals[row].tolist() == pytest.approx(formula.duals, abs=1e-10)
        assert any(formula.duals), "all duals are 0, so the constraint is not tested"


def test_terms() -> None:
    loss = make_loss(3)
    prototypes = [torch.eye(3, 5, dtype=torch.float64)]
    embedding = torch.eye(3, 5, dtype=torch.float64)[[0, 0, 1, 0]]
    first = loss(secu_views([embedding, embedding], prototypes, [0, 1, 2, 3])).terms
    assert set(first) == {"prediction", "centres", "changed", "smallest_class"}
    assert first["changed"].item() == 1
    assert first["smallest_class"].item() == 0
    moved = torch.eye(3, 5, dtype=torch.float64)[[0, 1, 1, 2]]
    second = loss(secu_views([moved, moved], prototypes, [0, 1, 2, 3])).terms
    assert second["changed"].item() == 0.5
    assert second["smallest_class"].item() == 0.75  # sizes 1, 2, 1
    assert loss(secu_views([moved, moved], prototypes, [0, 1, 2, 3])).terms["changed"].item() == 0


def test_duals_move_images_into_empty_classes() -> None:
    """All images prefer class 0; with the constraint, each class gets its lower bound over the epochs."""
    generator = torch.Generator().manual_seed(0)
    logits = 0.1 * torch.randn(1, 120, 4, generator=generator, dtype=torch.float64)
    logits[..., 0] += 0.3
    with float64_buffers():
        bound, free = (Assignments(1, 4, 120, ratio, 0.02, sslkit.World()) for ratio in (0.9, 0.0))
    for _ in range(60):
        for batch in torch.randperm(120, generator=generator).split(30):
            for assignments in (bound, free):
                assignments.update(assignments.assign(logits[:, batch]), batch)
    assert free.smallest_class().item() < 0.2
    assert bound.smallest_class().item() > 0.7
    assert bound.duals[0, 0] == 0
    assert bound.sizes.sum().item() == 120


@settings(deadline=None, max_examples=40)
@given(
    batches=st.lists(st.lists(st.integers(0, 11), min_size=2, max_size=6, unique=True), min_size=1, max_size=6),
    classes=st.integers(2, 5),
    seed=st.integers(0, 99),
)
def test_sizes_always_equal_the_stored_labels(batches: list[list[int]], classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    assignments = Assignments(2, classes, 12, 0.9, 0.1, sslkit.World())
    for batch in batches:
        labels = torch.randint(classes, (2, len(batch)), generator=generator)
        assignments.update(labels, torch.tensor(batch))
        assert torch.equal(assignments.stored(torch.tensor(batch)), labels)
        assert (assignments.duals >= 0).all()
    for row in range(2):
        labels = assignments.labels[row].tolist()
        assert assignments.sizes[row].tolist() == [labels.count(c) for c in range(classes)]


def test_the_classifier_is_trained_only_through_the_images_own_class() -> None:
    embeddings = [draw(2, 5, seed=view).requires_grad_() for view in range(2)]
    prototypes = draw(4, 5, seed=9).requires_grad_()
    views = secu_views(embeddings, [prototypes], [0, 1])
    chosen = {int(label) for label in sum(view[0] for view in zip(*views.student.logits, strict=True)).argmax(1)}
    make_loss(4)(views).total.backward()
    assert prototypes.grad is not None
    for c in range(4):
        assert (prototypes.grad[c].abs().max() > 1e-6) == (c in chosen)
        if c not in chosen:
            assert prototypes.grad[c].abs().max() < 1e-14


def test_nothing_is_stored_in_eval_mode() -> None:
    loss = make_loss(4).eval()
    loss(secu_views([draw(6, 5, seed=0)] * 2, [draw(4, 5, seed=1)], list(range(6))))
    assert (loss.assignments[0].labels == -1).all()
    assert not loss.assignments[0].duals.any()


def test_a_resume_with_another_number_of_images_forgets_labels_and_keeps_duals() -> None:
    loss = make_loss(4)
    loss(secu_views([draw(6, 5, seed=0)] * 2, [draw(4, 5, seed=1)], list(range(6))))
    state = copy.deepcopy(loss.state_dict())
    same, fewer = make_loss(4), make_loss(4, facts={"training_images": 9})
    same.load_state_dict(state)
    fewer.load_state_dict(state)
    assert torch.equal(same.assignments[0].labels, loss.assignments[0].labels)
    assert fewer.assignments[0].labels.tolist() == [[-1] * 9]
    assert not fewer.assignments[0].sizes.any()
    assert torch.equal(fewer.assignments[0].duals, loss.assignments[0].duals)
    assert loss.assignments[0].duals.any()


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_large_logits_give_finite_values(scale: float) -> None:
    embeddings = [(scale * draw(6, 5, seed=view)).float().requires_grad_() for view in range(2)]
    prototypes = [draw(4, 5, seed=9).float()]
    total = make_loss(4).float()(secu_views(embeddings, prototypes, list(range(6)))).total
    total.backward()
    assert total.isfinite()
    assert all(view.grad is not None and view.grad.isfinite().all() for view in embeddings)


def test_a_uniform_guess_has_a_loss_of_ln_k_in_both_parts() -> None:
    flat = [torch.zeros(6, 5, dtype=torch.float64)] * 2
    output = make_loss(4)(secu_views(flat, [draw(4, 5, seed=0)], list(range(6))))
    assert output.total.item() == pytest.approx(2 * math.log(4))
    assert output.per_classifier[0].item() == pytest.approx(math.log(4))


def test_invalid_contexts_and_options_raise() -> None:
    with pytest.raises(sslkit.InputError, match="stores a label for each training image, but their number is 0"):
        make_loss(4, facts={"training_images": 0})
    views = secu_views([draw(6, 5, seed=0)] * 2, [draw(4, 5, seed=1)], list(range(6)))
    branch = sslkit.BranchOutputs(views.student.features, views.student.embeddings, views.student.logits)
    with pytest.raises(sslkit.InputError, match=r"needs BranchOutputs\.classify, which the method does not set"):
        make_loss(4)(sslkit.ViewOutputs({"student": branch}, 2, views.index))
    with pytest.raises(ValueError, match="less than or equal to 1"):
        SeCu.Options(lower_bound=1.1)
