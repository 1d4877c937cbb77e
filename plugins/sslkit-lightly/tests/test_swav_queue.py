"""The SwAV queue: equality with lightly's, its start, its order after a resume."""

from __future__ import annotations

import pytest
import torch
from lightly.loss.swav_loss import SwaVLoss as LightlySwaVLoss
from torch import Tensor
from torch.nn import functional

import sslkit
from sslkit_lightly.swav_loss import SwavLoss

PROTOTYPES = functional.normalize(torch.randn(5, 6, generator=torch.Generator().manual_seed(3)), dim=1)


def context(batch_size: int = 4, embedding_dim: int = 6) -> sslkit.Context:
    return sslkit.Context(
        1, 8, (0.5,), (0.5,), batch_size, 3, 4, view_count=3, global_view_count=2, embedding_dim=embedding_dim
    )


def make_loss(**options: object) -> SwavLoss:
    return SwavLoss(SwavLoss.Options.model_validate({"queue_size": 8, **options}), context())


def batch(step: int) -> Tensor:
    """Return embeddings ``[V, B, E]`` of two global views and a local one."""
    return functional.normalize(torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(step)), dim=2)


def views(step: int) -> sslkit.ViewOutputs:
    embeddings = tuple(batch(step))
    logits = (tuple(embedding @ PROTOTYPES.T for embedding in embeddings),)
    branch = sslkit.BranchOutputs(embeddings, embeddings, logits, lambda past: (past @ PROTOTYPES.T,))
    return sslkit.ViewOutputs({"student": branch}, 2, torch.arange(4) + 4 * step, step)


def lightly(step: int, past: list[int] | None) -> Tensor:
    logits = batch(step) @ PROTOTYPES.T
    queue = None if past is None else [torch.cat([batch(old)[view] @ PROTOTYPES.T for old in past]) for view in (0, 1)]
    return LightlySwaVLoss()(list(logits[:2]), [logits[2]], queue)[0]


def test_equals_lightly_with_the_queue_of_the_same_view() -> None:
    loss = make_loss()
    totals = [loss(views(step)).total for step in range(5)]
    for step, past in enumerate([None, None, [0, 1], [1, 2], [2, 3]]):
        torch.testing.assert_close(totals[step], lightly(step, past), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(totals[4], lightly(4, None), atol=1e-4), (
        "the queue has no influence, so the test proves nothing"
    )


@pytest.mark.parametrize(("start", "first_used"), [("1 epochs", 5), ("2 steps", 4), ("0 steps", 2)])
def test_the_queue_starts_at_queue_start_and_is_used_when_full(start: str, first_used: int) -> None:
    loss = make_loss(queue_start=start)
    for step in range(first_used):
        torch.testing.assert_close(loss(views(step)).total, lightly(step, None), rtol=1e-5, atol=1e-5)
    total = loss(views(first_used)).total
    torch.testing.assert_close(total, lightly(first_used, [first_used - 2, first_used - 1]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_a_resumed_loss_has_the_queue_in_order(stopped_after: int) -> None:
    uninterrupted = make_loss()
    expected = [uninterrupted(views(step)).total.item() for step in range(6)]
    first, second = make_loss(), make_loss()
    for step in range(stopped_after):
        first(views(step))
    second.load_state_dict(first.state_dict())
    assert [second(views(step)).total.item() for step in range(stopped_after, 6)] == expected[stopped_after:]
    assert torch.equal(second.queues[0].rows, uninterrupted.queues[0].rows)
    assert second.queues[1].index.tolist() == uninterrupted.queues[1].index.tolist()


class AuthorsSwav:
    """The training step of the authors' ``main_swav.py``: queue, Sinkhorn and loss, for two global views."""

    def __init__(self, queue_length: int, batch_size: int) -> None:
        self.queue = torch.zeros(2, queue_length - queue_length % batch_size, 6, dtype=torch.float64)
        self.used = False

    def loss(self, embeddings: Tensor, prototypes: Tensor) -> Tensor:
        size, output = embeddings.shape[1], embeddings @ prototypes.T
        total = torch.zeros((), dtype=torch.float64)
        for view in (0, 1):
            targets = output[view]
            if self.used or bool((self.queue[view, -1] != 0).any()):
                self.used = True
                targets = torch.cat([self.queue[view] @ prototypes.T, targets])
            self.queue[view, size:] = self.queue[view, :-size].clone()
            self.queue[view, :size] = embeddings[view]
            assignment = self.sinkhorn((targets / 0.05).exp().T)[-size:]
            others = [other for other in range(len(output)) if other != view]
            for other in others:
                total -= (assignment * (output[other] / 0.1).softmax(1).log()).sum(1).mean() / len(others)
        return total / 2

    @staticmethod
    def sinkhorn(weights: Tensor) -> Tensor:
        weights = weights / weights.sum()
        for _ in range(3):
            weights = weights / weights.sum(1, keepdim=True) / len(weights)
            weights = weights / weights.sum(0) / weights.shape[1]
        return (weights / weights.sum(0)).T


@pytest.mark.parametrize("size", [8, 11])
def test_equals_the_authors_code_with_a_queue_of_whole_batches(size: int, recwarn: pytest.WarningsRecorder) -> None:
    prototypes, authors = PROTOTYPES.double(), AuthorsSwav(size, batch_size=4)
    loss = make_loss(queue_size=size).double()
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == (size == 11)
    assert all("queue_size = 11 is not a multiple of the batch size 4" in text and "has 8" in text for text in messages)
    for step in range(9):
        embeddings = batch(step).double()
        logits = (tuple(embeddings @ prototypes.T),)
        branch = sslkit.BranchOutputs(tuple(embeddings), tuple(embeddings), logits, lambda past: (past @ prototypes.T,))
        total = loss(sslkit.ViewOutputs({"student": branch}, 2, torch.arange(4) + 4 * step, step)).total
        torch.testing.assert_close(total, authors.loss(embeddings, prototypes), rtol=1e-12, atol=1e-12)
        assert authors.used == (step >= 2)


def test_a_checkpoint_fits_a_resume_with_another_batch_size() -> None:
    first = make_loss(queue_size=9)
    for step in range(4):
        first(views(step))
    second = SwavLoss(SwavLoss.Options(queue_size=9), context(batch_size=3))
    second.load_state_dict(first.state_dict())
    assert (first.queue_length, second.queue_length) == (8, 9)
    expected = torch.cat([batch(step)[0] for step in (1, 2, 3)])[-9:]
    assert set(map(tuple, second.queues[0].newest(9).tolist())) == set(map(tuple, expected.tolist()))
    assert set(map(tuple, first.queues[0].newest(8).tolist())) == set(map(tuple, expected[1:].tolist()))


def test_the_queue_does_not_change_in_eval_mode() -> None:
    loss = make_loss().eval()
    loss(views(0))
    assert loss.queues[0].pushed == 0


def test_invalid_queue_options_raise() -> None:
    with pytest.raises(sslkit.OptionError, match="3 is less than the batch size 4"):
        SwavLoss(SwavLoss.Options(queue_size=3), context())
    with pytest.raises(sslkit.OptionError, match="needs a head with embeddings"):
        SwavLoss(SwavLoss.Options(queue_size=8), context(embedding_dim=0))
    with pytest.raises(ValueError, match="must be a duration"):
        SwavLoss.Options(queue_start="soon")
