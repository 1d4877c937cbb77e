from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from sslkit.contracts.dataset import ImageStore
from sslkit.data import store
from sslkit.data.store import ConcatStore, MappedStore, TensorStore

IMAGES = torch.randint(0, 256, (9, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "images.npy"
    np.save(path, IMAGES.numpy())
    return path


def test_both_stores_meet_the_contract_and_return_the_same_images(file: Path) -> None:
    index = torch.tensor([7, 0, 7, 3])
    for images in (TensorStore(IMAGES), MappedStore(file)):
        assert isinstance(images, ImageStore)
        assert images.shape == (3, 4, 5)
        assert len(images) == 9
        assert torch.equal(images.gather(index), IMAGES[index])
        assert images.gather(index).dtype == torch.uint8
    assert TensorStore(IMAGES).nbytes == 9 * 60


def test_a_mapped_store_can_be_part_of_a_file(file: Path) -> None:
    part = MappedStore(file, 2, 4)
    assert len(part) == 4
    assert torch.equal(part.gather(torch.arange(4)), IMAGES[2:6])
    with pytest.raises(ValueError, match="holds 9 images, not images 2 to 10"):
        MappedStore(file, 2, 8)


def test_a_mapped_store_is_pickled_as_a_path(file: Path) -> None:
    pickled = pickle.dumps(MappedStore(file, 2, 4))
    assert len(pickled) < 300
    assert torch.equal(pickle.loads(pickled).gather(torch.arange(4)), IMAGES[2:6])


def test_gathered_images_are_a_copy(file: Path) -> None:
    images = MappedStore(file)
    images.gather(torch.tensor([1])).zero_()
    assert torch.equal(images.gather(torch.tensor([1])), IMAGES[1:2])


def test_a_mapped_store_is_copied_to_memory_in_blocks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "COPY_BYTES", 130)
    copied = MappedStore(file, 1).to("cpu")
    assert isinstance(copied, TensorStore)
    assert torch.equal(copied.images, IMAGES[1:])


def test_a_truncated_file_or_another_dtype_is_an_error(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="mmap"):
        MappedStore(file)
    np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"must hold uint8 \[N, C, H, W\], not float64 \[3\]"):
        MappedStore(file)


def test_a_tensor_of_another_dtype_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[N, C, H, W\], not torch.float32 \[2, 3\]"):
        TensorStore(torch.zeros(2, 3))


def test_a_concatenation_returns_images_of_both_stores() -> None:
    images = ConcatStore(TensorStore(IMAGES[:4]), TensorStore(IMAGES[4:]))
    index = torch.tensor([5, 0, 8, 3])
    assert (len(images), images.shape) == (9, (3, 4, 5))
    assert torch.equal(images.gather(index), IMAGES[index])
