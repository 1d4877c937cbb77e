"""The data sets that torchvision downloads, checks and parses.

torchvision verifies the published checksums of what it downloads, and of CIFAR, STL-10 and SVHN each time they are
read.  Its files are kept in a folder ``datasets`` of the cache unless ``root`` names another place, and are those of
torchvision's own users: a folder that already holds them can be named as root.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.error import URLError

import numpy as np
import torch

from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.options import Options as BaseOptions
from sslkit.data.cache import cache_folder
from sslkit.data.datasets.paths import FolderPath
from sslkit.data.store import TensorStore
from sslkit.errors import DataError
from sslkit.locks import alone

log = logging.getLogger(__name__)


class TorchvisionSource(Dataset):
    """One of torchvision's data sets: where its files are, and torchvision's object for a split."""

    class Options(BaseOptions):
        """Where the files are."""

        root: FolderPath | None = None
        """Folder of torchvision's files; by default the folder datasets of sslkit's cache."""

        download: bool = True
        """Download what is not there."""

    options: Options
    name: ClassVar[str]
    """As torchvision names the class."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def splits(self) -> tuple[str, ...]:
        return "train", "test"

    @property
    def root(self) -> Path:
        """Where torchvision's files are looked for."""
        return self.options.root or cache_folder() / "datasets"

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # reading them hashes all files
        return tuple(self._source("test").classes)

    @abstractmethod
    def _arguments(self, split: str) -> dict[str, Any]:
        """What tells torchvision which split to read."""

    def _source(self, split: str) -> Any:
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}.")
        from torchvision import datasets

        make = partial(getattr(datasets, self.name), root=self.root, **self._arguments(split))
        try:
            if not self.options.download:
                return make(download=False)
            # Some of torchvision's classes unpack again what is there; and two processes would write into one file.
            if (found := self._there(make)) is not None:
                return found
            with alone(cache_folder() / "downloading" / f"{self.name}.lock", self._wait):
                found = self._there(make)
                return make(download=True) if found is None else found
        except MemoryError:
            raise
        except Exception as error:  # damaged files make the parsers raise almost anything
            raise DataError(_explain(self.name, self.root, self.options.download, error)) from error

    def _there(self, make: Callable[..., Any]) -> Any:
        """torchvision's object, where all its files are there; else None."""
        try:
            found = make(download=False)
            return found if self._complete(found) else None
        except MemoryError:
            raise
        except Exception:
            return None

    def _complete(self, source: Any) -> bool:
        """Whether all files of torchvision's object are there, where it does not look itself."""
        return True

    def _wait(self) -> None:
        log.warning("another process is downloading %s: waiting for it", self.name)


class TorchvisionDataset(TorchvisionSource):
    """One of torchvision's data sets whose images are of one size, held in memory as uint8 ``[N, C, H, W]``."""

    def load(self, split: str) -> Split:
        source = self._source(split)
        images, labels = self._arrays(source)
        return Split(
            TensorStore(torch.from_numpy(np.ascontiguousarray(images))),
            None if split == "pretrain" else torch.as_tensor(labels, dtype=torch.int64),
        )

    @abstractmethod
    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        """uint8 images ``[N, C, H, W]`` and ``[N]`` labels of torchvision's object."""


class Cifar10(TorchvisionDataset):
    """CIFAR-10: 50 000 training and 10 000 test images ``[3, 32, 32]`` in 10 classes."""

    api = 1
    name = "CIFAR10"

    def _arguments(self, split: str) -> dict[str, Any]:
        return {"train": split == "train"}

    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        return source.data.transpose(0, 3, 1, 2), source.targets


class Cifar100(Cifar10):
    """CIFAR-100: 50 000 training and 10 000 test images ``[3, 32, 32]`` in 100 classes."""

    api = 1
    name = "CIFAR100"


class FashionMnist(TorchvisionDataset):
    """Fashion-MNIST: 60 000 training and 10 000 test grey images ``[1, 28, 28]`` in 10 classes."""

    api = 1
    name = "FashionMNIST"

    def _arguments(self, split: str) -> dict[str, Any]:
        return {"train": split == "train"}

    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        return source.data.numpy()[:, None], source.targets


class Svhn(TorchvisionDataset):
    """Street View House Numbers: 73 257 training and 26 032 test images ``[3, 32, 32]`` of the digits 0 to 9."""

    api = 1
    name = "SVHN"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple("0123456789")

    def _arguments(self, split: str) -> dict[str, Any]:
        return {"split": split}

    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        return source.data, source.labels


class Stl10(TorchvisionDataset):
    """STL-10: 5 000 training and 8 000 test images ``[3, 96, 96]`` in 10 classes, and 100 000 without labels."""

    api = 1

    class Options(TorchvisionDataset.Options):
        """Where the files are, and what is trained on without labels."""

        pretrain: Literal["train+unlabelled", "unlabelled", "train"] = "train+unlabelled"
        """Images to pre-train on: the 5 000 labelled training images, the 100 000 unlabelled ones (2.8 GB in memory),
        or both."""

    options: Options
    name = "STL10"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.pretrain = options.pretrain

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "test") if self.pretrain == "train" else ("train", "test", "pretrain")

    def _arguments(self, split: str) -> dict[str, Any]:
        return {"split": self.pretrain.replace("unlabelled", "unlabeled") if split == "pretrain" else split}

    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        return source.data, source.labels


def _explain(name: str, root: Path, download: bool, error: Exception) -> str:
    cause = " ".join(str(error).split()) or type(error).__name__
    if not download:
        return (
            f"{name} is not in {root}, or its files are damaged ({cause}). "
            "Set download = true to fetch it, or set root to the folder that holds torchvision's files."
        )
    if isinstance(error, (URLError, ConnectionError, TimeoutError)) or "Error downloading" in cause:
        return (
            f"{name} could not be downloaded to {root}: {getattr(error, 'reason', cause)}. Check the network, or copy "
            "torchvision's files there from a machine that has them."
        )
    if isinstance(error, OSError):
        return f"{name} cannot be read from or written to {root}: {cause}. Check permissions and free space there."
    return f"{name} in {root} is damaged ({cause}). Delete its files there; the next start downloads them again."
