"""Nearest-neighbour positives: order of the queue, neighbours, resume."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import sslkit
from sslkit.testing.fake_device import ForbidDeviceSync
from sslkit_selfcls.loss import SelfClassifierLoss
from sslkit_selfcls.queue import NeighbourQueue

WEIGHT = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def context(batch_size: int = 2, embedding_dim: int = 4) -> sslkit.Context:
    return sslkit.Context(1, 8, (0.5,), (0.5,), batch_size, 1, 1, view_count=2, embedding_dim=embedding_dim)


def views(first: Tensor, index: list[int], weight: Tensor = WEIGHT) -> sslkit.ViewOutputs:
    embeddings = (first, first.flip(0))
    branch = sslkit.BranchOutputs(
        embeddings,
        embeddings,
        (tuple(embedding @ weight.T for embedding in embeddings),),
        lambda embedding: (embedding @ weight.T,),
    )
    return sslkit.ViewOutputs({"student": branch}, 2, torch.tensor(index))


def unit(*numbers: int) -> Tensor:
    return functional.one_hot(torch.tensor(numbers), 4).float()


def test_the_oldest_embedding_is_replaced_first() -> None:
    queue = NeighbourQueue(3, context())
    stored = queue.queue
    queue.substitute(views(unit(0, 1), [10, 11]))
    assert stored.index.tolist() == [10, 11, -1]
    queue.substitute(views(unit(2, 3), [12, 13]))
    assert stored.index.tolist() == [13, 11, 12]
    torch.testing.assert_close(stored.rows, unit(3, 1, 2))
    queue.substitute(views(unit(0, 0), [14, 15]))
    assert stored.index.tolist() == [13, 14, 15]


def test_the_first_view_is_unchanged_until_the_queue_is_full() -> None:
    queue = NeighbourQueue(4, context())
    for index in ([0, 1], [2, 3]):
        batch = views(torch.randn(2, 4), index)
        assert torch.equal(queue.substitute(batch)[0], batch.student.logits[0][0])
    batch = views(torch.randn(2, 4), [4, 5])
    assert not torch.equal(queue.substitute(batch)[0], batch.student.logits[0][0])


def test_the_neighbour_is_the_most_similar_embedding_of_another_image() -> None:
    queue = NeighbourQueue(4, context())
    queue.substitute(views(unit(0, 1), [0, 1]))
    queue.substitute(views(unit(2, 3), [2, 3]))
    near = torch.tensor([[0.9, 0.4, 0.1, 0.0], [0.1, 0.2, 0.9, 0.3]])
    # Image 0 is most similar to its own past embedding, which is excluded; image 7 is new.
    logits = queue.substitute(views(near, [0, 7]))[0]
    torch.testing.assert_close(logits, unit(1, 2) @ WEIGHT.T)


def test_the_gradient_trains_the_classifier_and_not_the_embedding() -> None:
    queue = NeighbourQueue(2, context())
    queue.substitute(views(unit(0, 1), [0, 1]))
    first, weight = torch.randn(2, 4, requires_grad=True), WEIGHT.clone().requires_grad_()
    queue.substitute(views(first, [2, 3], weight))[0].square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    assert first.grad is None or first.grad.abs().sum() == 0


def test_the_queue_does_not_change_in_eval_mode() -> None:
    queue = NeighbourQueue(2, context()).eval()
    queue.substitute(views(unit(0, 1), [0, 1]))
    assert queue.queue.index.tolist() == [-1, -1]


def test_a_resumed_loss_gives_the_same_values() -> None:
    def loss() -> SelfClassifierLoss:
        return SelfClassifierLoss(SelfClassifierLoss.Options(queue_size=3), context())

    torch.manual_seed(0)
    batches = [views(functional.normalize(torch.randn(2, 4)), [2 * step, 2 * step + 1]) for step in range(6)]
    uninterrupted = loss()
    expected = [uninterrupted(batch).total for batch in batches]
    start, resumed = loss(), loss()
    for batch in batches[:3]:
        start(batch)
    resumed.load_state_dict(start.state_dict())
    assert [resumed(batch).total for batch in batches[3:]] == expected[3:]
    no_queue = SelfClassifierLoss(SelfClassifierLoss.Options(), context())
    assert no_queue(batches[3]).total != expected[3]
    assert not no_queue.state_dict()


@pytest.mark.parametrize("queue_size", [0, 3])
def test_a_step_needs_no_device_sync(queue_size: int) -> None:
    loss = SelfClassifierLoss(SelfClassifierLoss.Options(queue_size=queue_size), context())
    batches = [views(torch.randn(2, 4, requires_grad=True), [step, step + 9]) for step in range(3)]
    with ForbidDeviceSync():
        for batch in batches:
            loss(batch).total.backward()


def test_a_queue_without_enough_rows_or_embeddings_raises() -> None:
    with pytest.raises(sslkit.OptionError, match="less than the batch size 4"):
        SelfClassifierLoss(SelfClassifierLoss.Options(queue_size=3), context(batch_size=4))
    with pytest.raises(sslkit.OptionError, match="needs a head with embeddings"):
        SelfClassifierLoss(SelfClassifierLoss.Options(queue_size=3), context(embedding_dim=0))
