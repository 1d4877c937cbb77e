from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.data.loader import PREFETCH_BATCHES, ImageBatch, Loader
from sslkit.data.store import TensorStore
from sslkit.errors import DataError


def store(count: int) -> TensorStore:
    """Return images of one pixel, whose value is the index of the image."""
    return TensorStore(torch.arange(count, dtype=torch.uint8).reshape(count, 1, 1, 1))


def batches(count: int, size: int, *, start: int = 0, epochs: int = 2, seed: int = 0, **world: int) -> list[ImageBatch]:
    loader = Loader(store(count), size, seed, **world)
    loader.start, loader.stop = start, epochs * loader.steps_per_epoch
    return list(loader)


def test_each_epoch_has_each_image_at_most_once_in_another_order() -> None:
    loaded = batches(23, 5)
    assert len(loaded) == 8
    for batch in loaded:
        assert torch.equal(batch.images.flatten().long(), batch.indices)
    first, second = torch.cat([b.indices for b in loaded[:4]]), torch.cat([b.indices for b in loaded[4:]])
    assert len(set(first.tolist())) == len(set(second.tolist())) == 20
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.cat([b.indices for b in batches(23, 5, seed=1)[:4]]))


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.sampled_from([2, 4, 8]), st.integers(0, 9), st.sampled_from([1, 2]))
def test_batches_do_not_depend_on_start_and_number_of_processes(
    count: int, size: int, start: int, processes: int
) -> None:
    expected = [batch.indices for batch in batches(count, size)]
    parts = [batches(count, size, start=start, rank=rank, processes=processes) for rank in range(processes)]
    assert [torch.cat([batch.indices for batch in step]).tolist() for step in zip(*parts, strict=True)] == [
        batch.tolist() for batch in expected[start:]
    ]


def test_a_continued_run_counts_epochs_after_the_last_one_of_its_parent() -> None:
    # The parent's batch size does not matter.
    for size in (5, 7):
        assert torch.equal(Loader(store(23), size, 0, epochs_before=2).order(0), Loader(store(23), 5, 0).order(2))


def test_the_loader_does_not_use_the_global_random_state() -> None:
    before = torch.get_rng_state()
    batches(23, 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_that_cannot_be_divided_among_processes_is_an_error() -> None:
    with pytest.raises(DataError, match="a batch of 5 images cannot be shared equally by 2 processes"):
        Loader(store(23), 5, seed=0, processes=2)


class CountingStore(TensorStore):
    """Store that counts fetched batches, and fails at batch ``fail_at``."""

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__(store(20).images)
        self.fetched = 0
        self.fail_at = fail_at

    def gather(self, index: torch.Tensor) -> torch.Tensor:
        if self.fetched == self.fail_at:
            raise OSError("the disk is gone")
        self.fetched += 1
        return super().gather(index)


def prefetching_loader(images: TensorStore, stop: int) -> Loader:
    loader = Loader(images, 5, seed=3)
    loader.prefetch, loader.stop = True, stop
    return loader


def test_prefetched_batches_equal_those_fetched_on_demand() -> None:
    plain = Loader(store(20), 5, seed=3)
    plain.stop = 9
    for one, other in zip(prefetching_loader(store(20), 9), plain, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.indices, other.indices)


def test_prefetching_is_limited_and_stops_with_the_iterator() -> None:
    images = CountingStore()
    iterator = iter(prefetching_loader(images, 1000))
    for asked in range(1, 8):
        next(iterator)
        assert asked <= images.fetched <= asked + PREFETCH_BATCHES
    iterator.close()
    fetched, threads = images.fetched, [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("prefetch") for name in threads)
    assert images.fetched == fetched <= 7 + PREFETCH_BATCHES


def test_an_error_in_the_background_is_raised_at_its_batch() -> None:
    iterator = iter(prefetching_loader(CountingStore(fail_at=3), 1000))
    for _ in range(3):
        next(iterator)
    with pytest.raises(DataError, match="the images of step 4 cannot be read: the disk is gone"):
        next(iterator)


def test_short_epochs_read_the_same_batches_as_epochs_of_a_pass() -> None:
    loader = Loader(store(23), 5, 0, steps_per_epoch=3)
    loader.stop = 8
    assert loader.steps_per_epoch == 3
    assert [batch.indices.tolist() for batch in loader] == [batch.indices.tolist() for batch in batches(23, 5)]
    with pytest.raises(DataError, match=r"4 batches of 5, fewer than the 5 steps of an epoch: set .* to at most 4"):
        Loader(store(23), 5, 0, steps_per_epoch=5)
