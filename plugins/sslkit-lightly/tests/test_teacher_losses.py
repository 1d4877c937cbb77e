"""The BYOL and DINO losses, compared with their formulas, and the DINO head."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import sslkit
from sslkit_lightly.byol import Byol
from sslkit_lightly.dino import Dino, DinoHead

CONTEXT = sslkit.Context(
    1, 8, (0.5,), (0.5,), 6, 10, 4, view_count=3, feature_dim=5, embedding_dim=4, classifiers=(7, 3)
)


def views(student: list[Tensor], teacher: list[Tensor], step: int = 0) -> sslkit.ViewOutputs:
    """Return outputs whose embeddings are also the first classifier's logits; the second has their first 3 columns."""

    def branch(views: list[Tensor]) -> sslkit.BranchOutputs:
        return sslkit.BranchOutputs(tuple(views), tuple(views), (tuple(views), tuple(z[:, :3] for z in views)))

    return sslkit.ViewOutputs({"student": branch(student), "teacher": branch(teacher)}, 2, torch.arange(6), step)


def random_views(width: int, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    student = [torch.randn(6, width, dtype=torch.float64, generator=generator) for _ in range(3)]
    teacher = [torch.randn(6, width, dtype=torch.float64, generator=generator) for _ in range(2)]
    return student, teacher


def test_byol_equals_equation_2() -> None:
    torch.manual_seed(0)
    loss = Byol(Byol.Options(predictor_dim=9), CONTEXT).double()
    student, teacher = random_views(4)
    distances = []
    for i, target in enumerate(teacher):
        for j, embedding in enumerate(student):
            if i != j:
                prediction = loss.predictor(embedding)
                unit = prediction / prediction.norm(dim=1, keepdim=True)
                distances.append((unit - target / target.norm(dim=1, keepdim=True)).square().sum(1).mean())
    total = loss(views(student, teacher)).total
    torch.testing.assert_close(total, torch.stack(distances).mean())


def test_byol_trains_the_predictor_and_never_the_teacher() -> None:
    loss = Byol(Byol.Options(predictor_dim=9), CONTEXT).double()
    student, teacher = random_views(4)
    for z in (*student, *teacher):
        z.requires_grad_()
    loss(views(student, teacher)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in loss.parameters())
    assert all(z.grad is not None and z.grad.abs().sum() > 0 for z in student)
    assert all(z.grad is None for z in teacher)


def dino_formula(
    student: list[Tensor], teacher: list[Tensor], centre: Tensor, temperature: float, student_temperature: float
) -> Tensor:
    terms = []
    for i, target in enumerate(teacher):
        for j, prediction in enumerate(student):
            if i != j:
                probabilities = ((target - centre) / temperature).softmax(1)
                terms.append(-(probabilities * (prediction / student_temperature).log_softmax(1)).sum(1).mean())
    return torch.stack(terms).mean()


def test_dino_equals_equation_3_with_the_centre_of_equation_4() -> None:
    options = Dino.Options(
        warmup="21 steps",
        center_momentum=0.8,
        temperature=0.3,
        warmup_teacher_temperature=0.05,
        teacher_temperature=0.09,
    )
    loss = Dino(options, CONTEXT)
    centre = torch.zeros(1, 7, dtype=torch.float64)
    for step in (0, 5, 30):
        student, teacher = random_views(7, step)
        temperature = {0: 0.05, 5: 0.06, 30: 0.09}[step]
        output = loss(views(student, teacher, step))
        first, second = output.per_classifier
        torch.testing.assert_close(first, dino_formula(student, teacher, centre, temperature, 0.3))
        torch.testing.assert_close(output.total, (first + second) / 2)
        centre = 0.8 * centre + 0.2 * torch.cat(teacher).mean(0)
    torch.testing.assert_close(loss.losses[0].center.flatten(), centre.flatten().float(), check_dtype=False)
    assert "losses.0.center" in loss.state_dict()


@pytest.mark.parametrize(("warmup", "epochs"), [("4 epochs", 4), ("1 epochs", 1), ("0 epochs", 0), ("30%", 3)])
def test_the_temperature_follows_the_authors_schedule(warmup: str, epochs: int) -> None:
    context = replace(CONTEXT, steps_per_epoch=3, epochs=10)
    loss = Dino(Dino.Options(warmup=warmup, warmup_teacher_temperature=0.04, teacher_temperature=0.07), context)
    # As in main_dino.py: one temperature for each epoch.
    schedule = np.concatenate([np.linspace(0.04, 0.07, epochs), np.ones(10 - epochs) * 0.07])
    actual = [loss.teacher_temperature(step) for step in range(30)]
    np.testing.assert_allclose(actual, schedule.repeat(3), rtol=1e-14)


@pytest.mark.parametrize(("warmup", "count"), [("5 steps", 5), ("0.5 epochs", 5), ("1 steps", 1)])
def test_a_warm_up_in_steps_or_within_an_epoch_rises_with_each_step(warmup: str, count: int) -> None:
    loss = Dino(Dino.Options(warmup=warmup, warmup_teacher_temperature=0.04, teacher_temperature=0.07), CONTEXT)
    actual = [loss.teacher_temperature(step) for step in range(9)]
    np.testing.assert_allclose(actual, [*np.linspace(0.04, 0.07, count), *[0.07] * (9 - count)], rtol=1e-14)


def test_a_warm_up_in_steps_counts_the_steps_before_a_resume_with_another_batch_size() -> None:
    # 40 steps were taken, which equal 10 steps with the new batch size.
    context = replace(CONTEXT, step_offset=30)
    options = {"warmup_teacher_temperature": 0.04, "teacher_temperature": 0.07}
    in_steps, in_epochs = (Dino(Dino.Options(warmup=text, **options), context) for text in ("61 steps", "3 epochs"))
    before = Dino(Dino.Options(warmup="61 steps", **options), CONTEXT)
    assert in_steps.teacher_temperature(10) == before.teacher_temperature(40) == pytest.approx(0.06)
    assert in_epochs.teacher_temperature(10) == pytest.approx(0.055)


def test_a_warm_up_of_a_fraction_of_an_epoch_more_ends_in_its_last_epoch() -> None:
    loss = Dino(Dino.Options(warmup="2.5 epochs", warmup_teacher_temperature=0.04, teacher_temperature=0.07), CONTEXT)
    actual = [loss.teacher_temperature(step) for step in (0, 10, 20, 30)]
    np.testing.assert_allclose(actual, [0.04, 0.06, 0.07, 0.07], rtol=1e-14)


def test_dino_never_trains_the_teacher() -> None:
    student, teacher = random_views(7)
    for z in (*student, *teacher):
        z.requires_grad_()
    Dino(Dino.Options(), CONTEXT)(views(student, teacher)).total.backward()
    assert all(z.grad is not None and z.grad.abs().sum() > 0 for z in student)
    assert all(z.grad is None for z in teacher)


def test_the_head_returns_cosines_and_can_be_copied() -> None:
    torch.manual_seed(0)
    options = DinoHead.Options(classifiers=(7, 3), hidden_dim=8, embedding_dim=4)
    head = DinoHead(options, CONTEXT)
    output = head(torch.randn(6, 5))
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(6))
    assert [tuple(logits.shape) for logits in output.logits] == [(6, 7), (6, 3)]
    directions = head.prototypes[0] / head.prototypes[0].norm(dim=1, keepdim=True)
    torch.testing.assert_close(output.logits[0], output.embedding @ directions.T)
    copy = deepcopy(head)
    assert copy.prototypes[0].data_ptr() != head.prototypes[0].data_ptr()


def test_prototypes_are_frozen_for_the_configured_duration() -> None:
    head = DinoHead(DinoHead.Options(classifiers=(7,), hidden_dim=8, embedding_dim=4), CONTEXT)
    for step, frozen in ((9, True), (10, False)):
        head(torch.randn(6, 5)).logits[0].square().sum().backward()
        head.after_backward(step)
        assert (head.prototypes[0].grad is None) == frozen
        assert next(head.mlp.parameters()).grad is not None
