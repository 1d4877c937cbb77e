"""The RUC loss against the paper's formulas in loops, promotion of unclean images, and batches without clean images."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logit_views import Logits, draw_logits, float64_buffers, gradients, logit_context
from torch import Tensor

import sslkit
from sslkit_discovery.ruc import Ruc

FEATURES, IMAGES, BATCH = 5, 12, 6
SEED, STEPS = 3, 4
OPTIONS = {"threshold": 0.5, "neighbours": 4, "promotion_threshold": 0.26, "temperature": 0.3}


def draw_features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, FEATURES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def initial_outputs(*sizes: int, scale: float = 1.0, images: int = IMAGES) -> sslkit.BranchOutputs:
    logits = draw_logits(*sizes, views=1, batch=images, seed=50, scale=scale)
    return sslkit.BranchOutputs((draw_features(images, seed=51),), logits=tuple(tuple(views) for views in logits))


def make_loss(*sizes: int, views: int = 2, prepared: sslkit.BranchOutputs | None = None, **options: object) -> Ruc:
    context = logit_context(*sizes, view_count=views, training_images=IMAGES, feature_dim=FEATURES, seed=SEED)
    with float64_buffers():
        loss = Ruc(Ruc.Options(**(OPTIONS | options)), context)
    loss.total_steps = STEPS
    if prepared is not None:
        loss.prepare(prepared)
    return loss


def view_outputs(logits: Logits, features: Sequence[Tensor], index: Sequence[int], step: int) -> sslkit.ViewOutputs:
    branch = sslkit.BranchOutputs(tuple(features), logits=tuple(tuple(views) for views in logits))
    return sslkit.ViewOutputs({"student": branch}, len(features), torch.tensor(index), step)


def softmax(row: Tensor, temperature: float) -> Tensor:
    exponentials = torch.stack([torch.exp(value / temperature) for value in row])
    return exponentials / sum(exponentials)


def unit(row: Tensor) -> Tensor:
    return row / sum(value**2 for value in row) ** 0.5


class Formula:
    """One classifier of the head and its second network, image by image as in the authors' code."""

    def __init__(self, logits: Tensor, features: Tensor, weight: Tensor, bias: Tensor, **options: object) -> None:
        self.o = Ruc.Options(**(OPTIONS | options))
        self.weight, self.bias = weight, bias
        self.labels: dict[int, int] = {}
        predicted = [int(row.argmax()) for row in logits]
        for n, row in enumerate(logits):
            similarity = {m: float(unit(features[n]) @ unit(features[m])) for m in range(len(features)) if m != n}
            nearest = sorted(similarity, key=lambda m: -similarity[m])[: self.o.neighbours]
            votes = [sum(predicted[m] == c for m in nearest) for c in range(len(row))]
            confident = float(softmax(row, self.o.temperature).max()) >= self.o.threshold
            agreed = votes[predicted[n]] == max(votes)
            if {"confidence": confident, "neighbours": agreed, "hybrid": confident and agreed}[self.o.selection]:
                self.labels[n] = predicted[n]

    def second(self, feature: Tensor) -> Tensor:
        return torch.stack([w @ unit(feature) + b for w, b in zip(self.weight, self.bias, strict=True)])

    def sharpen(self, p: Tensor) -> Tensor:
        powers = torch.stack([value ** (1 / self.o.sharpening) for value in p])
        return powers / sum(powers)

    def step(self, views: Sequence[Tensor], features: Sequence[Tensor], index: list[int], step: int) -> Tensor:
        """Return the loss of a batch, and promote unclean images."""
        temperature, weak, classes = self.o.temperature, self.o.weak_views, views[0].shape[1]
        logits = [views, [torch.stack([self.second(row) for row in view]) for view in features]]
        p = [[[softmax(row, temperature) for row in view] for view in network] for network in logits]
        drawn = random.Random(f"mixup {SEED} {step}").betavariate(self.o.mixup, self.o.mixup) if self.o.mixup else 1.0
        mixing = max(drawn, 1 - drawn)
        clean = [b for b, n in enumerate(index) if n in self.labels]
        unclean = [b for b, n in enumerate(index) if n not in self.labels]
        total = torch.zeros((), dtype=torch.float64)
        for own, other in ((0, 1), (1, 0)):
            targets = []
            for b, n in enumerate(index):
                if n in self.labels:
                    q = p[other][0][b]
                    w = (float(q.detach().max()) - 1 / classes) / (1 - 1 / classes)
                    onehot = torch.eye(classes, dtype=torch.float64)[self.labels[n]]
                    targets.append(self.sharpen((1 - w) * onehot + w * q).detach())
                else:
                    guesses = [p[k][v][b] for k in (0, 1) for v in range(weak)]
                    targets.append(self.sharpen(sum(guesses) / len(guesses)).detach())
            for v in range(weak):
                mixed, mixed_targets = [], []
                for b in range(len(index)):
                    following = (b + 1) % len(index)
                    row = mixing * logits[own][v][b] + (1 - mixing) * logits[own][v][following]
                    mixed.append(softmax(row, temperature))
                    mixed_targets.append(mixing * targets[b] + (1 - mixing) * targets[following])
                for b in clean:
                    total = total - (mixed_targets[b] * mixed[b].log()).sum() / len(clean) / weak
                for b in unclean:
                    ramp = max(0.1, step / STEPS)
                    error = ((mixed[b] - mixed_targets[b]) ** 2).sum() / classes
                    total = total + self.o.unclean_weight * ramp * error / len(unclean) / weak
            for v in range(weak, len(views)):
                for b in clean:
                    smoothed = [self.o.label_smoothing / (classes - 1)] * classes
                    smoothed[self.labels[index[b]]] = 1 - self.o.label_smoothing
                    entropy = -sum(s * value.log() for s, value in zip(smoothed, p[own][v][b], strict=True))
                    total = total + entropy / len(clean) / (len(views) - weak)
        for b in unclean:
            first, second = p[0][0][b], p[1][0][b]
            if int(first.argmax()) == int(second.argmax()) and min(first.max(), second.max()) >= (
                self.o.promotion_threshold
            ):
                self.labels[index[b]] = int(first.argmax())
        return total


CASES = {
    "two views": ((4,), 2, {}),
    "sizes": ((3, 5, 3), 3, {}),
    "two weak views": ((4, 2), 3, {"weak_views": 2, "sharpening": 0.8, "unclean_weight": 3.0}),
    "confidence": ((4,), 2, {"selection": "confidence", "threshold": 0.65, "mixup": 0.0, "label_smoothing": 0.2}),
    "neighbours": ((4,), 2, {"selection": "neighbours", "mixup": 1.0}),
}


@pytest.mark.parametrize(("sizes", "views", "options"), CASES.values(), ids=CASES)
def test_equals_the_formula_over_steps(sizes: tuple[int, ...], views: int, options: dict[str, object]) -> None:
    initial = initial_outputs(*sizes)
    loss = make_loss(*sizes, views=views, prepared=initial, **options)
    where = {
        place: (group, row) for group, indices in enumerate(loss.groups.indices) for row, place in enumerate(indices)
    }
    for number, parameter in enumerate(loss.parameters()):  # the second networks must differ from the centres
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
        parameter.data += 0.1 * noise
    formulas = [
        Formula(own[0], initial.features[0], loss.second[g].weight[row], loss.second[g].bias[row], **options)
        for own, (g, row) in zip(initial.logits, (where[place] for place in range(len(sizes))), strict=True)
    ]
    starts = [dict(formula.labels) for formula in formulas]
    smallest, mixed = [], []
    for step in range(STEPS):
        index = [(5 * step + n) % IMAGES for n in range(BATCH)]
        logits = draw_logits(*sizes, views=views, batch=BATCH, seed=step)
        features = [draw_features(BATCH, seed=100 * view + step).requires_grad_() for view in range(views)]
        leaves = [*features, *(view.requires_grad_() for own in logits for view in own), *loss.parameters()]
        before = [set(formula.labels) for formula in formulas]
        expected = sum(f.step(own, features, index, step) for f, own in zip(formulas, logits, strict=True)) / len(sizes)
        output = loss(view_outputs(logits, features, index, step))
        assert output.total.item() == pytest.approx(expected.item(), abs=1e-10)
        expected_gradients = gradients(expected, leaves)
        for own, other in zip(gradients(output.total, leaves), expected_gradients, strict=True):
            torch.testing.assert_close(own, other, rtol=0, atol=1e-10)
        smallest.append(min(gradient.abs().max().item() for gradient in expected_gradients))
        mixed.append(all(0 < len(known & set(index)) < BATCH for known in before))
    assert any(mixed), "no batch has clean and unclean images"
    assert max(smallest) > 1e-4, "in every step, a gradient is 0"
    for place, formula in enumerate(formulas):
        group, row = where[place]
        stored = loss.labels[group]
        assert stored.labels[row].tolist() == [formula.labels.get(n, -1) for n in range(IMAGES)]
        assert stored.sizes[row].tolist() == [list(formula.labels.values()).count(c) for c in range(sizes[place])]
    assert any(f.labels != start for f, start in zip(formulas, starts, strict=True)), "no image is promoted"
    assert output.terms["clean"].item() == pytest.approx(sum(len(f.labels) for f in formulas) / len(formulas) / IMAGES)


def test_second_classifiers_start_at_the_class_centres() -> None:
    """Two groups of features, 0 and 1; one image of group 1 has the wrong class, but is not clean."""
    features = torch.eye(FEATURES, dtype=torch.float64)[[0, 0, 0, 1, 1, 1, 1]] * 3
    logits = torch.eye(2, dtype=torch.float64)[[0, 0, 0, 0, 1, 1, 1]]
    logits[3] = torch.tensor([0.02, 0.0])
    loss = make_loss(2, selection="confidence", threshold=0.9, temperature=0.1)
    loss.labels[0].labels.resize_(1, 7)
    loss.prepare(sslkit.BranchOutputs((features,), logits=((logits,),)))
    assert loss.labels[0].labels.tolist() == [[0, 0, 0, -1, 1, 1, 1]]
    assert loss.labels[0].sizes.tolist() == [[3, 3]]
    second = loss.second[0](features[None])[0, 0]
    assert second.argmax(1).tolist() == [0, 0, 0, 1, 1, 1, 1]
    difference = second[:, 0] - second[:, 1]
    assert difference[0].item() == pytest.approx(-difference[4].item() * 4 / 3, rel=1e-6), "the mean feature is 0"
    given = logits[:, 0] - logits[:, 1]
    scale = (given @ difference) / (difference @ difference)
    assert scale.item() == pytest.approx(1, abs=1e-9), "logits have the scale of the head's logits"


def test_a_class_without_clean_images_starts_at_all_of_its_images() -> None:
    initial = initial_outputs(3)
    loss = make_loss(3, prepared=initial, selection="confidence", threshold=0.0)
    with pytest.warns(UserWarning, match="1 classifiers have no clean image: continue a trained run"):
        unsure = make_loss(3, prepared=initial, threshold=0.999999)
    assert (unsure.labels[0].labels == -1).all()
    for own, other in zip(unsure.parameters(), loss.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=0)


@pytest.mark.parametrize("threshold", [0.0, 0.999999])
def test_without_clean_or_without_unclean_images_values_are_finite(threshold: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = make_loss(
            4, 3, prepared=initial_outputs(4, 3), selection="confidence", threshold=threshold, promotion_threshold=1.0
        )
    logits = [[view.requires_grad_() for view in views] for views in draw_logits(4, 3)]
    features = [draw_features(BATCH, seed=view) for view in range(2)]
    output = loss(view_outputs(logits, features, range(BATCH), 0))
    output.total.backward()
    for view in (view for views in logits for view in views):
        assert view.grad is None or view.grad.isfinite().all()
    terms = {name: value.item() for name, value in output.terms.items()}
    assert all(math.isfinite(value) for value in terms.values())
    if threshold:
        assert (terms["clean"], terms["smallest_class"], terms["refinement"], terms["smoothing"]) == (0, 0, 0, 0)
        assert terms["guessing"] > 0
    else:
        assert (terms["clean"], terms["guessing"]) == (1, 0)


def test_collapse_is_visible_and_not_selected() -> None:
    collapsed = torch.eye(4, dtype=torch.float64)[[0] * IMAGES]
    unsure = torch.zeros(IMAGES, 4, dtype=torch.float64)
    good = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3] * 3]
    logits = [[collapsed], [unsure], [good]]
    features = good @ torch.eye(4, FEATURES, dtype=torch.float64)
    options = {"selection": "confidence", "temperature": 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = make_loss(
            4, 4, 4, prepared=sslkit.BranchOutputs((features,), logits=tuple(map(tuple, logits))), **options
        )
    assert loss.labels[0].smallest_class().tolist() == [0, 0, 1]
    batch = [[own[0][:BATCH]] * 2 for own in logits]
    losses = [v.item() for v in loss(view_outputs(batch, [features[:BATCH]] * 2, range(BATCH), 0)).per_classifier]
    assert losses[0] == pytest.approx(0.75 * math.log(4), abs=1e-2)
    assert losses[1] == pytest.approx(math.log(4))
    assert losses[2] < 0.1


@settings(deadline=None, max_examples=20)
@given(classes=st.integers(2, 6), scale=st.floats(0.1, 5), shift=st.floats(-3, 3), seed=st.integers(0, 999))
def test_order_of_classes_and_images_and_shifts_do_not_change_the_loss(
    classes: int, scale: float, shift: float, seed: int
) -> None:
    """Images are only rotated, because Mixup mixes each image with the next one."""
    names = torch.randperm(classes, generator=torch.Generator().manual_seed(seed))
    initial = initial_outputs(classes, scale=scale)
    renamed = sslkit.BranchOutputs(initial.features, logits=((initial.logits[0][0][:, names] + shift,),))
    features = [draw_features(BATCH, seed=view) for view in range(2)]
    (views,) = draw_logits(classes, batch=BATCH, seed=seed, scale=scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = make_loss(classes, prepared=initial), make_loss(classes, prepared=renamed)
    before = one(view_outputs([views], features, range(BATCH), 1))
    rotated = [[view.roll(2, 0)[:, names] + shift for view in views]]
    after = other(view_outputs(rotated, [view.roll(2, 0) for view in features], [4, 5, 0, 1, 2, 3], 1))
    assert after.total.item() == pytest.approx(before.total.item(), abs=1e-9)
    for name, value in before.terms.items():
        assert after.terms[name].item() == pytest.approx(value.item(), abs=1e-9)


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_large_logits_give_finite_values(scale: float) -> None:
    initial = initial_outputs(4)
    loss = make_loss(4, prepared=initial).float()
    views = [(scale * view).float().requires_grad_() for view in draw_logits(4)[0]]
    output = loss(view_outputs([views], [draw_features(BATCH).float()] * 2, range(BATCH), 0))
    output.total.backward()
    assert output.total.isfinite()
    for view in views:
        assert view.grad is not None
        assert view.grad.isfinite().all()


def test_labels_do_not_change_in_eval_mode_and_are_forgotten_with_other_images() -> None:
    loss = make_loss(4, prepared=initial_outputs(4), promotion_threshold=0.0)
    before = loss.labels[0].labels.clone()
    assert (before == -1).any()
    logits, features = draw_logits(4), [draw_features(BATCH, seed=view) for view in range(2)]
    loss.eval()
    loss(view_outputs(logits, features, range(BATCH), 0))
    assert torch.equal(loss.labels[0].labels, before)
    loss.train()
    loss(view_outputs(logits, features, range(BATCH), 0))
    assert not torch.equal(loss.labels[0].labels, before)
    more = Ruc(Ruc.Options(), logit_context(4, training_images=20, feature_dim=FEATURES))
    more.load_state_dict(loss.state_dict())
    assert (more.labels[0].labels == -1).all()
    assert not more.labels[0].sizes.any()


def test_invalid_views_classes_images_and_options_raise() -> None:
    with pytest.raises(sslkit.InputError, match="needs strong views: weak_views is 2, but each image has 2 views"):
        make_loss(4, weak_views=2)
    with pytest.raises(sslkit.InputError, match="ruc loss needs classifiers of at least two classes"):
        make_loss(4, 1)
    with pytest.raises(sslkit.InputError, match="stores a label for each training image, but their number is 0"):
        Ruc(Ruc.Options(), logit_context(4, training_images=0))
    with pytest.raises(sslkit.InputError, match="12 neighbours of each image need at least 12 other images"):
        make_loss(4, prepared=initial_outputs(4), neighbours=12)
    with pytest.raises(ValueError, match="less than 1"):
        Ruc.Options(threshold=1.0)
