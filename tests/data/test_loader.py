from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.data.loader import AHEAD, ImageBatch, Loader
from sslkit.data.store import TensorStore
from sslkit.errors import DataError


def store(count: int) -> TensorStore:
    """Images whose pixels tell their place."""
    return TensorStore(torch.arange(count, dtype=torch.uint8).reshape(count, 1, 1, 1))


def batches(count: int, size: int, *, start: int = 0, epochs: int = 2, seed: int = 0, **world: int) -> list[ImageBatch]:
    loader = Loader(store(count), size, seed, **world)
    loader.start, loader.stop = start, epochs * loader.steps_per_epoch
    return list(loader)


def test_each_epoch_sees_each_image_at_most_once_in_another_order() -> None:
    found = batches(23, 5)
    assert len(found) == 8
    for batch in found:
        assert torch.equal(batch.images.flatten().long(), batch.indices)
    first, second = torch.cat([b.indices for b in found[:4]]), torch.cat([b.indices for b in found[4:]])
    assert len(set(first.tolist())) == len(set(second.tolist())) == 20
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.cat([b.indices for b in batches(23, 5, seed=1)[:4]]))


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.sampled_from([2, 4, 8]), st.integers(0, 9), st.sampled_from([1, 2]))
def test_any_start_and_any_number_of_processes_give_the_same_batches(
    count: int, size: int, start: int, processes: int
) -> None:
    whole = [batch.indices for batch in batches(count, size)]
    parts = [batches(count, size, start=start, rank=rank, processes=processes) for rank in range(processes)]
    assert [torch.cat([batch.indices for batch in step]).tolist() for step in zip(*parts, strict=True)] == [
        batch.tolist() for batch in whole[start:]
    ]


def test_a_continuation_with_other_batches_begins_after_every_epoch_its_parent_began() -> None:
    # Five steps of a parent are an epoch and a part of the next of four.
    assert torch.equal(Loader(store(23), 5, seed=0, steps_before=5).order(0), Loader(store(23), 5, seed=0).order(2))


def test_does_not_touch_the_global_random_state() -> None:
    before = torch.get_rng_state()
    batches(23, 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(DataError, match="a batch of 5 images cannot be shared equally by 2 processes"):
        Loader(store(23), 5, seed=0, processes=2)


class Watched(TensorStore):
    """Counts what is fetched, and fails where it is told to."""

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__(store(20).images)
        self.fetched = 0
        self.fail_at = fail_at

    def gather(self, index: torch.Tensor) -> torch.Tensor:
        if self.fetched == self.fail_at:
            raise OSError("the disk is gone")
        self.fetched += 1
        return super().gather(index)


def streamed(images: TensorStore, stop: int) -> Loader:
    loader = Loader(images, 5, seed=3)
    loader.streamed, loader.stop = True, stop
    return loader


def test_streamed_batches_are_those_of_the_resident() -> None:
    plain = Loader(store(20), 5, seed=3)
    plain.stop = 9
    for one, other in zip(streamed(store(20), 9), plain, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.indices, other.indices)


def test_streaming_fetches_a_little_ahead_and_stops_when_nobody_asks() -> None:
    images = Watched()
    iterator = iter(streamed(images, 1000))
    for asked in range(1, 8):
        next(iterator)
        assert asked <= images.fetched <= asked + AHEAD
    iterator.close()
    fetched, threads = images.fetched, [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("read-ahead") for name in threads)
    assert images.fetched == fetched <= 7 + AHEAD


def test_what_fails_in_the_background_fails_where_it_is_asked_for() -> None:
    iterator = iter(streamed(Watched(fail_at=3), 1000))
    for _ in range(3):
        next(iterator)
    with pytest.raises(DataError, match="the images of step 4 cannot be read: the disk is gone; "):
        next(iterator)
