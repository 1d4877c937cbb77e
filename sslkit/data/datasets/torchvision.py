"""Data sets that torchvision downloads, verifies and parses.

torchvision checks the published checksum of each download. For CIFAR, STL-10 and SVHN, torchvision checks the files
every time it reads them. The files are in the folder ``datasets`` of the cache, or in ``root``. ``root`` can be a
folder into which torchvision has already downloaded the files.
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
from sslkit.locks import exclusive

log = logging.getLogger(__name__)

WAITING = "waiting: another process is downloading %s"


class TorchvisionDataset(Dataset):
    """Base class of data sets that wrap a class of ``torchvision.datasets``.

    A subclass sets ``torchvision_class`` and implements ``split_arguments``, which returns the constructor's arguments
    for a split, and ``load``, which reads images and labels from the object that ``open_split`` returns.
    """

    class Options(BaseOptions):
        """Location of the files."""

        root: FolderPath | None = None
        """Folder of torchvision's files. Default: the folder datasets in sslkit's cache."""

        download: bool = True
        """Download missing files."""

    options: Options
    torchvision_class: ClassVar[str]
    """Name of the class in ``torchvision.datasets``."""

    @property
    def splits(self) -> tuple[str, ...]:
        return "train", "test"

    @property
    def root(self) -> Path:
        """Folder of torchvision's files."""
        return self.options.root or cache_folder() / "datasets"

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # cached, because torchvision hashes all files each time it opens a split
        return tuple(self.open_split("test").classes)

    @abstractmethod
    def split_arguments(self, split: str) -> dict[str, Any]:
        """Return the arguments, such as ``train=True``, that select a split."""

    def open_split(self, split: str) -> Any:
        """Return torchvision's data set for a split; download missing files first if ``download`` is set.

        Raises:
            DataError: the split does not exist, or its files are missing, damaged or cannot be downloaded.
        """
        if split not in self.splits:
            raise DataError(f"{self.torchvision_class} has no split {split!r}. It has: {', '.join(self.splits)}.")
        from torchvision import datasets

        factory = partial(getattr(datasets, self.torchvision_class), root=self.root, **self.split_arguments(split))
        try:
            if not self.options.download:
                return factory(download=False)
            # With download=True, some torchvision classes unpack existing archives again, so first try without.
            if (source := self._open_existing(factory)) is not None:
                return source
            # Only one process downloads, because two processes would write to the same files.
            lock = cache_folder() / "downloading" / f"{self.torchvision_class}.lock"
            with exclusive(lock, lambda: log.warning(WAITING, self.torchvision_class)):
                source = self._open_existing(factory)
                return factory(download=True) if source is None else source
        except MemoryError:
            raise
        except Exception as error:  # damaged files make the parsers raise almost anything
            raise DataError(_explain(self.torchvision_class, self.root, self.options.download, error)) from error

    def is_complete(self, source: Any) -> bool:
        """Return whether all files of the torchvision data set ``source`` exist.

        Override this method if torchvision does not check all files.
        """
        return True

    def _open_existing(self, factory: Callable[..., Any]) -> Any:
        """Return the result of ``factory``, a torchvision data set, or None if some of its files do not exist."""
        try:
            source = factory(download=False)
            return source if self.is_complete(source) else None
        except MemoryError:
            raise
        except Exception:
            return None


class LabelledImages(TorchvisionDataset):
    """Base class of labelled data sets with images of equal size: loads them into memory as uint8 ``[N, C, H, W]``."""

    def split_arguments(self, split: str) -> dict[str, Any]:
        return {"train": split == "train"}

    def load(self, split: str) -> Split:
        images, labels = self._arrays(self.open_split(split))
        return Split(
            TensorStore(torch.from_numpy(np.ascontiguousarray(images))),
            None if split == "pretrain" else torch.as_tensor(labels, dtype=torch.int64),
        )

    @abstractmethod
    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        """Return uint8 images ``[N, C, H, W]`` and labels ``[N]`` of the torchvision data set ``source``."""


class Cifar10(LabelledImages):
    """CIFAR-10: 50 000 training and 10 000 test images ``[3, 32, 32]`` in 10 classes."""

    api = 2
    torchvision_class = "CIFAR10"

    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        return source.data.transpose(0, 3, 1, 2), source.targets


class Cifar100(Cifar10):
    """CIFAR-100: 50 000 training and 10 000 test images ``[3, 32, 32]`` in 100 classes."""

    api = 2
    torchvision_class = "CIFAR100"


class FashionMnist(LabelledImages):
    """Fashion-MNIST: 60 000 training and 10 000 test images ``[1, 28, 28]`` (greyscale) in 10 classes."""

    api = 2
    torchvision_class = "FashionMNIST"

    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        return source.data.numpy()[:, None], source.targets


class Svhn(LabelledImages):
    """Street View House Numbers: 73 257 training and 26 032 test images ``[3, 32, 32]`` of the digits 0 to 9."""

    api = 2
    torchvision_class = "SVHN"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple("0123456789")

    def split_arguments(self, split: str) -> dict[str, Any]:
        return {"split": split}

    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        return source.data, source.labels


class Stl10(LabelledImages):
    """STL-10: 5 000 training and 8 000 test images ``[3, 96, 96]`` in 10 classes, and 100 000 unlabelled images."""

    api = 2

    class Options(LabelledImages.Options):
        """Location of the files, and the images to pre-train on."""

        pretrain: Literal["train+unlabelled", "unlabelled", "train"] = "train+unlabelled"
        """Images to pre-train on: the 5 000 labelled training images, the 100 000 unlabelled images (2.8 GB in memory),
        or both."""

    options: Options
    torchvision_class = "STL10"

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "test") if self.options.pretrain == "train" else ("train", "test", "pretrain")

    def split_arguments(self, split: str) -> dict[str, Any]:
        return {"split": self.options.pretrain.replace("unlabelled", "unlabeled") if split == "pretrain" else split}

    def _arrays(self, source: Any) -> tuple[np.ndarray, Any]:
        return source.data, source.labels


def _explain(name: str, root: Path, download: bool, error: Exception) -> str:
    cause = " ".join(str(error).split()) or type(error).__name__
    if not download:
        return (
            f"{name} is not in {root}, or its files are damaged ({cause}). "
            "Set download = true to download it, or set root to the folder that holds torchvision's files."
        )
    if isinstance(error, (URLError, ConnectionError, TimeoutError)) or "Error downloading" in cause:
        return (
            f"{name} could not be downloaded to {root}: {getattr(error, 'reason', cause)}. Check the network, or copy "
            "torchvision's files there from another machine."
        )
    if isinstance(error, OSError):
        return f"{name} cannot be read from or written to {root}: {cause}. Check permissions and free space there."
    return f"{name} in {root} is damaged ({cause}). Delete its files there; the next start downloads them again."
