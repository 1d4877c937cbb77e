from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from sslkit.contracts.dataset import ImageStore
from sslkit.data import placement as residence
from sslkit.data import store
from sslkit.data.splits import Subset
from sslkit.data.store import MappedStore, TensorStore

IMAGES = torch.randint(0, 256, (9, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "images.npy"
    np.save(path, IMAGES.numpy())
    return path


def test_both_stores_keep_the_contract_and_give_the_same_images(file: Path) -> None:
    index = torch.tensor([7, 0, 7, 3])
    for images in (TensorStore(IMAGES), MappedStore(file)):
        assert isinstance(images, ImageStore)
        assert images.shape == (3, 4, 5)
        assert len(images) == 9
        assert images.nbytes == 9 * 60
        assert torch.equal(images.gather(index), IMAGES[index])
        assert images.gather(index).dtype == torch.uint8


def test_a_mapped_store_can_be_a_part_of_a_file(file: Path) -> None:
    part = MappedStore(file, 2, 4)
    assert len(part) == 4
    assert torch.equal(part.gather(torch.arange(4)), IMAGES[2:6])
    with pytest.raises(ValueError, match="holds 9 images, not images 2 to 10"):
        MappedStore(file, 2, 8)


def test_a_mapped_store_travels_as_a_path(file: Path) -> None:
    sent = pickle.dumps(MappedStore(file, 2, 4))
    assert len(sent) < 300
    assert torch.equal(pickle.loads(sent).gather(torch.arange(4)), IMAGES[2:6])


def test_what_is_gathered_is_a_copy(file: Path) -> None:
    images = MappedStore(file)
    images.gather(torch.tensor([1])).zero_()
    assert torch.equal(images.gather(torch.tensor([1])), IMAGES[1:2])


def test_resident_copies_by_parts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "COPY_BYTES", 130)
    resident = MappedStore(file, 1).resident()
    assert isinstance(resident, TensorStore)
    assert torch.equal(resident.images, IMAGES[1:])


def test_a_truncated_or_foreign_file_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="mmap"):
        MappedStore(file)
    np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"must hold uint8 \[N, C, H, W\], not float64 \[3\]"):
        MappedStore(file)


def test_a_tensor_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[N, C, H, W\], not torch.float32 \[2, 3\]"):
        TensorStore(torch.zeros(2, 3))


def test_where_images_live_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residence, "SHARE", 0)
    subset = Subset(TensorStore(IMAGES), torch.arange(4))
    said = {}
    for name, images in (("mapped", MappedStore(file)), ("tensor", TensorStore(IMAGES)), ("stranger", subset)):
        placed, text = residence.place(images, "cpu")
        assert placed is images
        said[name] = (residence.streams(images, "cpu"), text.partition("MB), ")[2])
    assert said == {
        "mapped": (True, "too large for cpu memory: streamed from the cache on disk, 2 batches ahead"),
        "tensor": (False, "resident in memory, more than half of it"),
        "stranger": (False, "fetched by the data set itself as they are needed"),
    }
    assert residence.streams(TensorStore(IMAGES), "cuda")
