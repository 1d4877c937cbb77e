from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sslkit.data import checksum as checksum_module
from sslkit.data.checksum import checksum, sample_checksum
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.data.store import ConcatStore, MappedStore, TensorStore

IMAGES = torch.randint(256, (1000, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def images_with_change(index: int) -> Tensor:
    images = IMAGES.clone()
    images[index] = 255 - images[index]
    return images


def mapped_store(path: Path, file_id: str = "", start: int = 0) -> MappedStore:
    np.save(path / "images.npy", IMAGES.numpy())
    return MappedStore(path / "images.npy", start, None, file_id)


def test_the_checksum_depends_on_the_images_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum_module, "BLOCK_BYTES", 16 * 300)
    known = checksum(TensorStore(IMAGES))
    assert len(known) == 16
    store = mapped_store(tmp_path, "abc")
    assert checksum(store) == checksum(store.to("cpu")) == known
    assert checksum(ConcatStore(TensorStore(IMAGES[:300]), TensorStore(IMAGES[300:]))) == known
    assert all(checksum(TensorStore(images_with_change(index))) != known for index in range(0, 1000, 37))
    assert checksum(TensorStore(IMAGES.flip(0))) != known


def test_a_large_store_is_identified_by_content_id_or_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum_module, "FULL_CHECK_BYTES", 15_999)
    store = mapped_store(tmp_path, "abc")
    known = checksum(store)
    assert checksum(store.to("cpu")) == known
    for other in (mapped_store(tmp_path, "abd"), mapped_store(tmp_path, "abc", start=1)):
        assert checksum(other) != known
    plain = mapped_store(tmp_path)
    assert checksum(plain) == sample_checksum(plain) == checksum(plain.to("cpu"))
    assert sample_checksum(TensorStore(images_with_change(999))) != sample_checksum(plain)


def test_the_checksum_of_a_large_folder_depends_on_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum_module, "FULL_CHECK_BYTES", 0)
    noise = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    for split in ("train", "test"):
        (tmp_path / "here" / split).mkdir(parents=True)
        for number, pixels in enumerate(noise):
            Image.fromarray(pixels).save(tmp_path / "here" / split / f"{number}.png")
    shutil.copytree(tmp_path / "here", tmp_path / "there")

    def folder_checksum(folder: str, split: str = "train") -> str:
        return checksum(ImageFolder(ImageFolder.Options(root=tmp_path / folder)).load(split).images)

    assert folder_checksum("here") == folder_checksum("there") != folder_checksum("here", "test")
    Image.fromarray(255 - noise[7]).save(tmp_path / "there" / "train" / "7.png")
    assert folder_checksum("here") != folder_checksum("there")
