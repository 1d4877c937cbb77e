from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sslkit.data import checksum as checksums
from sslkit.data.checksum import checksum, sampled
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.data.splits import Joined
from sslkit.data.store import MappedStore, TensorStore

IMAGES = torch.randint(256, (1000, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def changed(place: int) -> Tensor:
    other = IMAGES.clone()
    other[place] = 255 - other[place]
    return other


def mapped(path: Path, content: str = "", start: int = 0) -> MappedStore:
    np.save(path / "images.npy", IMAGES.numpy())
    return MappedStore(path / "images.npy", start, None, content)


def test_it_is_that_of_every_image_wherever_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "BLOCK", 16 * 300)
    known = checksum(TensorStore(IMAGES))
    assert len(known) == 16
    store = mapped(tmp_path, "abc")
    assert checksum(store) == checksum(store.resident()) == known
    assert checksum(Joined(TensorStore(IMAGES[:300]), TensorStore(IMAGES[300:]))) == known
    assert all(checksum(TensorStore(changed(place))) != known for place in range(0, 1000, 37))
    assert checksum(TensorStore(IMAGES.flip(0))) != known


def test_large_stores_are_known_by_their_content_or_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "WHOLE", 15_999)
    store = mapped(tmp_path, "abc")
    known = checksum(store)
    assert checksum(store.resident()) == known
    for other in (mapped(tmp_path, "abd"), mapped(tmp_path, "abc", start=1)):
        assert checksum(other) != known
    plain = mapped(tmp_path)
    assert checksum(plain) == sampled(plain) == checksum(plain.resident())
    assert sampled(TensorStore(changed(999))) != sampled(plain)


def test_a_large_folder_is_known_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "WHOLE", 0)
    noise = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    for split in ("train", "test"):
        (tmp_path / "here" / split).mkdir(parents=True)
        for number, pixels in enumerate(noise):
            Image.fromarray(pixels).save(tmp_path / "here" / split / f"{number}.png")
    shutil.copytree(tmp_path / "here", tmp_path / "there")

    def known(folder: str, split: str = "train") -> str:
        return checksum(ImageFolder(ImageFolder.Options(root=tmp_path / folder)).load(split).images)

    assert known("here") == known("there") != known("here", "test")
    Image.fromarray(255 - noise[7]).save(tmp_path / "there" / "train" / "7.png")
    assert known("here") != known("there")
