from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.data.loader import ImageBatch, Loader
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


def test_does_not_touch_the_global_random_state() -> None:
    before = torch.get_rng_state()
    batches(23, 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(DataError, match="a batch of 5 images cannot be shared equally by 2 processes"):
        Loader(store(23), 5, seed=0, processes=2)
