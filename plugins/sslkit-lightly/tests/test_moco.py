"""The MoCo losses and NNCLR, compared with lightly's losses and with their formulas, and their queues."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import NNMemoryBankModule
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit.testing.base import SEEDING
from sslkit.testing.thread_world import run_in_threads
from sslkit_lightly.moco import Moco, MocoV3
from sslkit_lightly.nnclr import Nnclr
from sslkit_lightly.prediction import PredictionLoss

CONTEXT = sslkit.Context(1, 8, (0.5,), (0.5,), 4, 3, 4, seed=5, view_count=3, global_view_count=2, embedding_dim=6)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
OPTIONS = {"predictor_dim": 9, "temperature": 0.3}


def batch(step: int, teacher: bool = False, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step + 100 * teacher)
    views = torch.randn(count, 4, 6, dtype=torch.float64, generator=generator)
    return [view.requires_grad_() for view in views]


def outputs(
    student: list[Tensor], teacher: list[Tensor], step: int = 0, rows: slice = slice(None)
) -> sslkit.ViewOutputs:
    branches = {
        name: sslkit.BranchOutputs(tuple(view[rows] for view in views), tuple(view[rows] for view in views))
        for name, views in (("student", student), ("teacher", teacher))
    }
    return sslkit.ViewOutputs(branches, 2, (torch.arange(4) + 4 * step)[rows], step)


def make_moco(queue_size: int = 16) -> Moco:
    return Moco(Moco.Options(temperature=0.3, queue_size=queue_size), CONTEXT).double()


def make_predicting(loss: type[PredictionLoss], context: sslkit.Context = CONTEXT, **options: float) -> PredictionLoss:
    with SEEDING, torch.random.fork_rng():
        torch.manual_seed(0)
        return loss(loss.Options.model_validate(OPTIONS | options), context).double()


def test_moco_equals_lightly_with_the_same_queue() -> None:
    loss = make_moco()
    for step in range(5):
        student, teacher = batch(step), batch(step, teacher=True, count=2)
        reference = NTXentLoss(temperature=0.3, memory_bank_size=(16, 6))
        reference.memory_bank.bank = loss.queue.rows.clone()
        pairs = [(student[j], teacher[i].detach()) for i in (0, 1) for j in (0, 1, 2) if i != j]
        expected = torch.stack([reference(*pair) for pair in pairs[:1]])
        for query, key in pairs[1:]:
            reference.memory_bank.bank = loss.queue.rows.clone()  # lightly's queue changes with each call
            expected = torch.cat([expected, reference(query, key)[None]])
        actual = loss(outputs(student, teacher, step)).total
        torch.testing.assert_close(actual, expected.mean(), **CLOSE)
        gradients = torch.autograd.grad(expected.mean(), student)
        torch.testing.assert_close(torch.autograd.grad(actual, student), gradients, **CLOSE)


def test_the_queue_starts_with_random_unit_vectors_and_receives_the_teachers_embeddings() -> None:
    loss = make_moco()
    start = loss.queue.rows.clone()
    torch.testing.assert_close(start.norm(dim=1), torch.ones(16, dtype=torch.float64), rtol=0, atol=1e-6)
    assert torch.equal(start, make_moco().queue.rows), "all processes must start with the same queue"
    teacher = batch(0, teacher=True, count=2)
    loss(outputs(batch(0), teacher))
    torch.testing.assert_close(loss.queue.rows[:8], normalize(torch.cat(teacher)).detach())
    assert torch.equal(loss.queue.rows[8:], start[8:])


@pytest.mark.parametrize("kind", [Moco, Nnclr])
def test_a_resumed_loss_continues_with_its_queue(kind: type[Moco] | type[Nnclr]) -> None:
    def make() -> sslkit.Loss:
        return make_moco() if kind is Moco else make_predicting(Nnclr, queue_size=16)

    uninterrupted, first, second = make(), make(), make()
    steps = [outputs(batch(step), batch(step, teacher=True, count=2), step) for step in range(6)]
    expected = [uninterrupted(views).total.item() for views in steps]
    for views in steps[:3]:
        first(views)
    second.load_state_dict(first.state_dict())
    assert [second(views).total.item() for views in steps[3:]] == expected[3:]
    assert second.queue.index.tolist() == uninterrupted.queue.index.tolist()


@pytest.mark.parametrize("kind", [Moco, Nnclr])
def test_a_queue_smaller_than_the_batch_raises(kind: type[Moco] | type[Nnclr]) -> None:
    with pytest.raises(sslkit.OptionError, match="3 is less than the batch size 4"):
        kind(kind.Options(queue_size=3), CONTEXT)


@pytest.mark.parametrize("kind", [Moco, Nnclr])
def test_the_queue_does_not_change_in_eval_mode(kind: type[Moco] | type[Nnclr]) -> None:
    loss = kind(kind.Options(queue_size=16), CONTEXT).double().eval()
    loss(outputs(batch(0), batch(0, teacher=True, count=2)))
    assert loss.queue.pushed == 0


def test_moco_v3_is_algorithm_1() -> None:
    loss = make_predicting(MocoV3)
    student, teacher = batch(0), batch(0, teacher=True, count=2)
    terms = []
    for i, key in enumerate(teacher):
        for j, view in enumerate(student):
            if i != j:
                query = loss.predictor(view)
                query, unit = (
                    query / query.norm(dim=1, keepdim=True),
                    key.detach() / key.norm(dim=1, keepdim=True).detach(),
                )
                weights = (query @ unit.T / 0.3).exp()
                terms.append(-2 * 0.3 * (weights.diagonal() / weights.sum(1)).log().mean())
    expected, actual = torch.stack(terms).mean(), loss(outputs(student, teacher)).total
    torch.testing.assert_close(actual, expected, **CLOSE)
    gradients = torch.autograd.grad(expected, student, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(actual, student), gradients, **CLOSE)


def test_nnclr_equals_lightly_with_the_same_queue() -> None:
    loss = make_predicting(Nnclr, queue_size=16)
    reference = NTXentLoss(temperature=0.3)
    for step in range(5):
        student = batch(step, count=2)
        bank = NNMemoryBankModule(size=(16, 6))
        bank.bank = loss.queue.rows.clone()
        predictions = [loss.predictor(view) for view in student]
        neighbours = [bank(view.detach(), update=False) for view in student]
        expected = (reference(neighbours[0], predictions[1]) + reference(neighbours[1], predictions[0])) / 2
        actual = loss(outputs(student, student, step)).total
        torch.testing.assert_close(actual, expected, **CLOSE)
        gradients = torch.autograd.grad(expected, student)
        torch.testing.assert_close(torch.autograd.grad(actual, student), gradients, **CLOSE)
    torch.testing.assert_close(loss.queue.newest(4), normalize(batch(4, count=2)[0]).detach())


@pytest.mark.parametrize("kind", [MocoV3, Nnclr])
def test_two_processes_equal_one_apart_from_the_predictors_batch_norm(kind: type[MocoV3] | type[Nnclr]) -> None:
    """Compare with a predictor in eval mode, because its BatchNorm uses a process's part of the batch."""
    options = {"queue_size": 16} if kind is Nnclr else {}

    def run(world: sslkit.World, rows: slice) -> list[Tensor]:
        loss = make_predicting(kind, replace(CONTEXT, world=world), **options)
        loss.predictor.eval()
        return [
            loss(outputs(batch(step), batch(step, teacher=True, count=2), step, rows)).total.detach()
            for step in range(3)
        ]

    loss = run(sslkit.World(), slice(None))
    halves = run_in_threads(2, lambda world: run(world, slice(2 * world.rank, 2 * world.rank + 2)))
    torch.testing.assert_close(torch.stack([torch.stack(half) for half in halves]).mean(0), torch.stack(loss), **CLOSE)
