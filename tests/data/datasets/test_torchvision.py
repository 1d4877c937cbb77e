"""Data sets that torchvision parses, tested with small files in the formats of the real data sets."""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import runpy
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from processes.forked_cli import run_script
from scipy.io import savemat
from torchvision import datasets

from sslkit.data.datasets.torchvision import Cifar10, Cifar100, FashionMnist, Stl10, Svhn, TorchvisionDataset
from sslkit.errors import DataError

RANDOM = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def write_file(path: Path, content: bytes) -> str:
    """Write a file and return its MD5 checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def build(kind: type[TorchvisionDataset], root: Path, **options: Any) -> TorchvisionDataset:
    return kind(kind.Options.model_validate({"root": str(root), "download": False, **options}))


def check_split(dataset: TorchvisionDataset, split: str, images: np.ndarray, labels: list[int] | None) -> None:
    loaded = dataset.load(split)
    assert loaded.images.shape == images.shape[1:]
    assert torch.equal(loaded.images.gather(torch.arange(len(images))), torch.from_numpy(images))
    if labels is None:
        assert loaded.labels is None
    else:
        assert loaded.labels is not None
        assert loaded.labels.dtype == torch.int64
        assert loaded.labels.tolist() == labels


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, key: str, names: str) -> dict[str, Any]:
    base = root / kind.base_folder
    images = {"train": noise(6, 3, 32, 32), "test": noise(2, 3, 32, 32)}
    labels = {"train": [0, 1, 1, 0, 1, 0], "test": [1, 0]}
    for split in images:
        content = pickle.dumps({"data": images[split].reshape(len(images[split]), -1), key: labels[split]})
        name = f"{split}_batch"
        monkeypatch.setattr(kind, f"{split}_list", [[name, write_file(base / name, content)]])
    meta = write_file(base / kind.meta["filename"], pickle.dumps({names: ["cat", "dog"]}))
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": meta})
    return {"images": images, "labels": labels}


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_cifar(tmp_path, monkeypatch, datasets.CIFAR10, "labels", "label_names")
    dataset = build(Cifar10, tmp_path)
    assert dataset.class_names == ("cat", "dog")
    for split in dataset.splits:
        check_split(dataset, split, written["images"][split], written["labels"][split])
    (tmp_path / datasets.CIFAR10.base_folder / "test_batch").unlink()
    assert dataset.class_names == ("cat", "dog"), "cached: torchvision hashes all files each time"


def test_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_cifar(tmp_path, monkeypatch, datasets.CIFAR100, "fine_labels", "fine_label_names")
    dataset = build(Cifar100, tmp_path)
    assert dataset.class_names == ("cat", "dog")
    for split in dataset.splits:
        check_split(dataset, split, written["images"][split], written["labels"][split])


def test_a_changed_byte_of_cifar_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch, datasets.CIFAR10, "labels", "label_names")
    file = tmp_path / datasets.CIFAR10.base_folder / "test_batch"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(DataError, match=r"CIFAR10 is not in .*, or its files are damaged"):
        build(Cifar10, tmp_path).load("train")


def idx_file(*shape: int, values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes() + values.astype(np.uint8).tobytes()


def test_fashion_mnist(tmp_path: Path) -> None:
    images, labels = (
        {"train": noise(5, 28, 28), "t10k": noise(3, 28, 28)},
        {"train": [9, 0, 4, 4, 1], "t10k": [2, 3, 5]},
    )
    for name, values in images.items():
        write_file(tmp_path / f"FashionMNIST/raw/{name}-images-idx3-ubyte", idx_file(*values.shape, values=values))
        write_file(
            tmp_path / f"FashionMNIST/raw/{name}-labels-idx1-ubyte",
            idx_file(len(values), values=np.array(labels[name])),
        )
    dataset = build(FashionMnist, tmp_path)
    assert dataset.class_names[0] == "T-shirt/top"
    check_split(dataset, "train", images["train"][:, None], labels["train"])
    check_split(dataset, "test", images["t10k"][:, None], labels["t10k"])
    write_file(tmp_path / "FashionMNIST/raw/train-images-idx3-ubyte", b"\0\0\x08\x03 cut short")
    with pytest.raises(DataError, match=r"FashionMNIST in .* is damaged .* downloads them again"):
        build(FashionMnist, tmp_path, download=True).load("train")


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict(datasets.SVHN.split_list)
    images, labels = noise(4, 3, 32, 32), [10, 1, 9, 10]
    for split in ("train", "test"):
        url, name, _ = files[split]
        savemat(tmp_path / name, {"X": images.transpose(2, 3, 1, 0), "y": np.array(labels, np.uint8)[:, None]})
        files[split] = [url, name, hashlib.md5((tmp_path / name).read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", files)
    dataset = build(Svhn, tmp_path)
    assert dataset.class_names == tuple("0123456789")
    for split in dataset.splits:
        check_split(dataset, split, images, [0, 1, 9, 0])


@pytest.fixture
def stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    base = tmp_path / datasets.STL10.base_folder
    images = {"train": noise(3, 3, 96, 96), "test": noise(2, 3, 96, 96), "unlabeled": noise(4, 3, 96, 96)}
    sums = {
        name: write_file(base / f"{name}_X.bin", value.transpose(0, 1, 3, 2).tobytes())
        for name, value in images.items()
    }
    labels = {
        "train": write_file(base / "train_y.bin", bytes([1, 2, 2])),
        "test": write_file(base / "test_y.bin", bytes([2, 1])),
    }
    write_file(base / "class_names.txt", b"airplane\nbird\n")
    train = [["train_X.bin", sums["train"]], ["train_y.bin", labels["train"]], ["unlabeled_X.bin", sums["unlabeled"]]]
    monkeypatch.setattr(datasets.STL10, "train_list", train)
    monkeypatch.setattr(datasets.STL10, "test_list", [["test_X.bin", sums["test"]], ["test_y.bin", labels["test"]]])
    return images


def test_stl10(tmp_path: Path, stl10: dict[str, np.ndarray]) -> None:
    dataset = build(Stl10, tmp_path)
    assert dataset.splits == ("train", "test", "pretrain")
    assert dataset.class_names == ("airplane", "bird")
    check_split(dataset, "train", stl10["train"], [0, 1, 1])
    check_split(dataset, "test", stl10["test"], [1, 0])
    check_split(dataset, "pretrain", np.concatenate([stl10["train"], stl10["unlabeled"]]), None)
    check_split(build(Stl10, tmp_path, pretrain="unlabelled"), "pretrain", stl10["unlabeled"], None)
    only = build(Stl10, tmp_path, pretrain="train")
    assert only.splits == ("train", "test")
    with pytest.raises(DataError, match=r"^STL10 has no split 'pretrain'\. It has: train, test\.$"):
        only.load("pretrain")


@pytest.mark.parametrize("kind", [Cifar10, Cifar100, FashionMnist, Svhn, Stl10])
def test_the_error_for_missing_files_says_what_to_do(kind: type[TorchvisionDataset], tmp_path: Path) -> None:
    facts = rf"^{kind.torchvision_class} is not in {tmp_path}, or its files are damaged \(Dataset not found"
    remedies = r"Set download = true to download it, or set root to the folder that holds torchvision's files\.$"
    with pytest.raises(DataError, match=f"{facts}.*{remedies}"):
        build(kind, tmp_path).load("train")


@pytest.mark.parametrize("kind", [Cifar10, Cifar100, FashionMnist, Svhn, Stl10])
def test_the_error_for_no_network_says_what_to_do(
    kind: type[TorchvisionDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: Any, **kwargs: Any) -> Any:
        raise URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    facts = rf"^{kind.torchvision_class} could not be downloaded to {tmp_path}: .*Name or service not known"
    with pytest.raises(DataError, match=rf"{facts}.*Check the network, or copy torchvision's files there .*\.$"):
        build(kind, tmp_path, download=True).load("train")


DOWNLOADER = """
import sys, time
from pathlib import Path
from torchvision import datasets
from sslkit.data.datasets.torchvision import TorchvisionDataset
root = Path(sys.argv[1])

class SlowDownload:
    def __init__(self, root, download, **arguments):
        if not download and not (root / "busy").exists():
            raise RuntimeError("not there")  # torchvision only checks whether unpacking has started
        if download:
            (root / "busy").touch(exist_ok=False)
            (root / "image").touch()
            while not (root / "other").exists():  # until the other process has started
                time.sleep(0.05)
            time.sleep(1)
            (root / "mask").open("a").write("downloaded ")

class Slow(TorchvisionDataset):
    torchvision_class = "SlowDownload"

    def split_arguments(self, split):
        return {}

    def is_complete(self, source):
        return (root / "image").exists() and (root / "mask").exists()

    def load(self, split):
        return self.open_split(split)

datasets.SlowDownload = SlowDownload
if len(sys.argv) > 2:
    (root / "other").touch()
Slow(Slow.Options(root=root)).load("train")
assert (root / "mask").exists()
"""


def test_one_of_two_processes_downloads_and_the_other_waits(tmp_path: Path) -> None:
    script = tmp_path / "downloader.py"
    script.write_text(DOWNLOADER)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(run_script, [str(script), str(tmp_path)], os.environ, tmp_path)
        while not (tmp_path / "image").exists():
            assert not first.done()
            time.sleep(0.05)
        second = run_script([str(script), str(tmp_path), "second"], os.environ, tmp_path)
    assert (second.returncode, first.result().returncode) == (0, 0), second.stderr
    assert (tmp_path / "mask").read_text() == "downloaded "
    assert "another process is downloading SlowDownload" in second.stderr


def test_a_root_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=r"cannot be read from or written to .*file: .*Check permissions and free space"
    ):
        build(Svhn, tmp_path / "file", download=True).load("train")


def test_the_default_root_is_in_the_cache(cache: Path) -> None:
    dataset = Cifar10(Cifar10.Options())
    assert dataset.root == cache / "datasets"
    assert dataset.options.download


def test_the_module_imports_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert "Cifar10" in runpy.run_path(str(inspect.getsourcefile(Cifar10)))
