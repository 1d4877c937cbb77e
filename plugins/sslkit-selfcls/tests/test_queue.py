"""Nearest-neighbour positives: order, neighbours, persistence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import sslkit
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


def test_oldest_goes_first() -> None:
    queue = NeighbourQueue(3, context())
    kept = queue.queue
    queue.substitute(views(unit(0, 1), [10, 11]))
    assert kept.index.tolist() == [10, 11, -1]
    queue.substitute(views(unit(2, 3), [12, 13]))
    assert kept.index.tolist() == [13, 11, 12]
    torch.testing.assert_close(kept.rows, unit(3, 1, 2))
    queue.substitute(views(unit(0, 0), [14, 15]))
    assert kept.index.tolist() == [13, 14, 15]


def test_first_view_is_kept_until_the_queue_is_full() -> None:
    queue = NeighbourQueue(4, context())
    for index in ([0, 1], [2, 3]):
        given = views(torch.randn(2, 4), index)
        assert torch.equal(queue.substitute(given)[0], given.student.logits[0][0])
    given = views(torch.randn(2, 4), [4, 5])
    assert not torch.equal(queue.substitute(given)[0], given.student.logits[0][0])


def test_neighbour_is_the_most_similar_of_another_image() -> None:
    queue = NeighbourQueue(4, context())
    queue.substitute(views(unit(0, 1), [0, 1]))
    queue.substitute(views(unit(2, 3), [2, 3]))
    near = torch.tensor([[0.9, 0.4, 0.1, 0.0], [0.1, 0.2, 0.9, 0.3]])
    # Image 0 is most similar to its own past embedding, which is refused; image 7 is new.
    logits = queue.substitute(views(near, [0, 7]))[0]
    torch.testing.assert_close(logits, unit(1, 2) @ WEIGHT.T)


def test_gradient_reaches_the_classifier_and_not_the_embedding() -> None:
    queue = NeighbourQueue(2, context())
    queue.substitute(views(unit(0, 1), [0, 1]))
    first, weight = torch.randn(2, 4, requires_grad=True), WEIGHT.clone().requires_grad_()
    queue.substitute(views(first, [2, 3], weight))[0].square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    assert first.grad is None or first.grad.abs().sum() == 0


def test_evaluation_leaves_the_queue_alone() -> None:
    queue = NeighbourQueue(2, context()).eval()
    queue.substitute(views(unit(0, 1), [0, 1]))
    assert queue.queue.index.tolist() == [-1, -1]


def test_resumes_where_it_was() -> None:
    def loss() -> SelfClassifierLoss:
        return SelfClassifierLoss(SelfClassifierLoss.Options(queue_size=3), context())

    torch.manual_seed(0)
    batches = [views(functional.normalize(torch.randn(2, 4)), [2 * step, 2 * step + 1]) for step in range(6)]
    through = loss()
    wanted = [through(batch).total for batch in batches]
    start, resumed = loss(), loss()
    for batch in batches[:3]:
        start(batch)
    resumed.load_state_dict(start.state_dict())
    assert [resumed(batch).total for batch in batches[3:]] == wanted[3:]
    without = SelfClassifierLoss(SelfClassifierLoss.Options(), context())
    assert without(batches[3]).total != wanted[3]
    assert not without.state_dict()


class ForbidDeviceSync(TorchDispatchMode):
    """Refuses what would make the host wait for an accelerator."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert not any(name in str(func) for name in ("_local_scalar_dense", "nonzero", "unique")), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("queue_size", [0, 3])
def test_a_step_never_waits_for_the_device(queue_size: int) -> None:
    loss = SelfClassifierLoss(SelfClassifierLoss.Options(queue_size=queue_size), context())
    given = [views(torch.randn(2, 4, requires_grad=True), [step, step + 9]) for step in range(3)]
    with ForbidDeviceSync():
        for batch in given:
            loss(batch).total.backward()


def test_refuses_what_cannot_work() -> None:
    with pytest.raises(sslkit.OptionError, match="less than the batch size 4"):
        SelfClassifierLoss(SelfClassifierLoss.Options(queue_size=3), context(batch_size=4))
    with pytest.raises(sslkit.OptionError, match="needs a head with embeddings"):
        SelfClassifierLoss(SelfClassifierLoss.Options(queue_size=3), context(embedding_dim=0))
