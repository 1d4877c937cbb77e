"""The momentum teacher is a moving average of the student and encodes global views without gradient."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss, LossOutput, ViewOutputs
from sslkit.contracts.method import Batch, Parts, WeightedLoss
from sslkit.contracts.options import NoOptions
from sslkit.methods.momentum_teacher import MomentumTeacher

CONTEXT = Context(channels=1, image_size=2, mean=(0.5,), std=(0.5,), batch_size=3, steps_per_epoch=5, epochs=2)
OPTIONS = NoOptions()


class LinearBackbone(Backbone):
    api = 2
    feature_dim = 4

    def __init__(self) -> None:
        super().__init__(OPTIONS, CONTEXT)
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.norm(self.layer(images.flatten(1)))
        return features

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {}


class UnitFactorHead(Head):
    api = 2
    embedding_dim = 4

    def __init__(self) -> None:
        super().__init__(OPTIONS, CONTEXT)
        self.factor = nn.Parameter(torch.ones(4))

    def embed(self, features: Tensor) -> Tensor:
        return self.factor * features

    @torch.no_grad()
    def after_step(self) -> None:
        self.factor /= self.factor.norm()


class DistanceLoss(Loss):
    api = 2

    def forward(self, views: ViewOutputs) -> LossOutput:
        self.views = views
        pairs = zip(views.student.embeddings, views.teacher.embeddings, strict=False)
        return LossOutput(torch.stack([((a - b + 1).square() * torch.arange(4)).mean() for a, b in pairs]).sum())


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    views = (torch.rand(2, 3, 1, 2, 2, generator=generator), torch.rand(3, 3, 1, 2, 2, generator=generator))
    return Batch(views, global_views=2, index=torch.arange(3), step=0, epoch=0)


def make_method(momentum: float = 0.9) -> MomentumTeacher:
    torch.manual_seed(0)
    head = UnitFactorHead()
    nn.init.uniform_(head.factor)
    losses = (WeightedLoss("distance", DistanceLoss(OPTIONS, CONTEXT), 1.0, "unit"),)
    parts = Parts(LinearBackbone(), {"unit": head}, losses)
    return MomentumTeacher(MomentumTeacher.Options(momentum=momentum), CONTEXT, parts)


def train_step(method: MomentumTeacher, batch: Batch) -> None:
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    optimizer.zero_grad()
    method(batch).loss.backward()
    optimizer.step()
    method.after_step()


def test_the_teacher_starts_as_the_student_and_encodes_only_global_views(batch: Batch) -> None:
    method = make_method()
    method(batch)
    views = method.losses["distance"].views
    assert (len(views.student.embeddings), len(views.teacher.embeddings)) == (5, 2)
    for student, teacher in zip(views.student.embeddings, views.teacher.embeddings, strict=False):
        torch.testing.assert_close(student, teacher)
        assert student.requires_grad
        assert not teacher.requires_grad


def test_only_the_student_gets_gradients(batch: Batch) -> None:
    method = make_method()
    method(batch).loss.backward()
    assert all(p.grad is not None for p in (*method.backbone.parameters(), *method.heads["unit"].parameters()))
    assert all(p.grad is None for p in (*method.teacher.parameters(), *method.teacher_heads["unit"].parameters()))


def test_the_teacher_is_the_moving_average_of_equation_1(batch: Batch) -> None:
    method = make_method(momentum=0.9)
    for step in range(3):
        before = method.teacher.layer.weight.clone()
        train_step(method, replace(batch, step=step))
        momentum = 1 - (1 - 0.9) * (math.cos(math.pi * step / 10) + 1) / 2
        expected = momentum * before + (1 - momentum) * method.backbone.layer.weight
        torch.testing.assert_close(method.teacher.layer.weight, expected)
        assert not torch.equal(method.teacher.layer.weight, before)
        assert method.heads["unit"].factor.norm().item() == pytest.approx(1), (
            "the student's heads have their hooks called"
        )
    assert method.momentum_at(0) == pytest.approx(0.9)
    assert method.momentum_at(10) == pytest.approx(1.0)


def test_the_teachers_heads_are_averaged_and_keep_their_constraints(batch: Batch) -> None:
    method = make_method(momentum=0.9)
    before = method.teacher_heads["unit"].factor.clone()
    train_step(method, batch)
    expected = 0.9 * before + 0.1 * method.heads["unit"].factor
    torch.testing.assert_close(method.teacher_heads["unit"].factor, expected / expected.norm())


def test_the_teacher_has_its_own_batch_norm_statistics(batch: Batch) -> None:
    method = make_method()
    method(batch)
    global_views = torch.cat([view.flatten(1) for view in batch.views[0]])
    expected = 0.1 * method.teacher.layer(global_views).mean(0)
    torch.testing.assert_close(method.teacher.norm.running_mean, expected)
    assert not torch.equal(method.teacher.norm.running_mean, method.backbone.norm.running_mean)


def test_each_head_of_student_and_teacher_gets_its_views_in_one_call(batch: Batch) -> None:
    method = make_method()
    rows: dict[str, list[int]] = {"student": [], "teacher": []}
    for branch, head in (("student", method.heads["unit"]), ("teacher", method.teacher_heads["unit"])):
        head.register_forward_hook(lambda module, inputs, output, branch=branch: rows[branch].append(len(inputs[0])))
    method(replace(batch, global_views=3))
    assert rows == {"student": [15], "teacher": [9]}, "3 images; of the 5 views 3 are global, in two groups"


def test_the_state_includes_the_teacher_and_training_continues_identically(batch: Batch) -> None:
    first, second = make_method(), make_method()
    train_step(first, batch)
    second.load_state_dict(first.state_dict())
    for method in (first, second):
        train_step(method, replace(batch, step=1))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
