"""Data set of a user's own images: a folder of image files, with or without class folders."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from PIL import Image
from pydantic import AfterValidator, Field, model_validator

from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.options import Options as BaseOptions
from sslkit.data.datasets.folder import notes
from sslkit.data.datasets.folder.content_hash import FolderContent, read_content
from sslkit.data.datasets.folder.decoded_cache import DecodedIndex, decode_folder, entries_folder, no_readable_images
from sslkit.data.datasets.folder.hold_out import hold_out
from sslkit.data.datasets.folder.labels import FolderLabels, LabelMode, read_labels
from sslkit.data.datasets.folder.scan import FolderScan, printable, scan_folder
from sslkit.data.datasets.paths import FolderPath
from sslkit.data.store import MappedStore
from sslkit.errors import DataError

LISTED_IN_ERROR = 10
"""Maximum number of broken files in an error message. All other broken files are only counted."""


def _check_order(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if low >= high:
        raise ValueError("the first value must be smaller than the second")
    return limits


class ImageFolder(Dataset):
    """Images of a folder, decoded once into the cache and memory-mapped from there.

    The docstring of ``folder.scan`` describes the splits, ``folder.labels`` the labels, ``folder.hold_out`` the
    held-out test split, and ``image_files`` the conversion to uint8.
    """

    api = 2

    class Options(BaseOptions):
        """Folder to read, and format of the images."""

        root: FolderPath
        """Folder of images; a relative path starts at the working directory. Optional sub-folders: train, validation
        (val, valid), test; other usual spellings, such as Train or testing, are also recognised."""

        labels: LabelMode = "auto"
        """folders: each folder below train is a class; without a folder train, each folder below root. none: no labels
        are read. auto: train/<class>/<file> gives labels, unless there is only one class folder or one class folder per
        image; other layouts give no labels."""

        hold_out: float = Field(default=0.0, ge=0, lt=1)
        """Fraction of each class folder to move from train to test, if there is no test folder; 0.2 is usual. Needs
        labels = "folders". Identical files stay together."""

        hold_out_seed: int = Field(default=0, ge=0)
        """Seed for choosing the held-out images. run.seed does not change the choice, so all runs are evaluated on the
        same images."""

        channels: Literal[1, 3] = 3
        """3: every image becomes RGB; 1: every image becomes grey."""

        size: Literal["auto"] | Annotated[int, Field(ge=8, le=4096)] = "auto"
        """Side of the stored images in pixels. The shorter side of each image is scaled to this size, and the central
        square is cut out. auto: the images' own size if all have the same size with a shorter side of at most 256; else
        their median shorter side, at most 256."""

        value_range: Literal["dtype"] | Annotated[tuple[float, float], AfterValidator(_check_order)] = "dtype"
        """Values that become black and white in images with more than 8 bits, such as [0, 4095] for 12-bit images in
        16-bit files. Values outside the range are clipped. dtype: 0 to 65535 for integers, 0 to 1 for floats."""

        broken_limit: float = Field(default=0.05, ge=0, le=1)
        """Largest accepted fraction of unreadable files, which are skipped and reported; a larger fraction is an
        error."""

        @model_validator(mode="after")
        def _hold_out_needs_labels(self) -> Self:
            if self.hold_out and self.labels != "folders":
                raise ValueError('hold_out needs labels = "folders"')
            return self

    options: Options

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        """Write images for ``sslkit plugins check``, and return the options for reading them."""
        for split, label, count in itertools.product(("train", "test"), ("bright", "dark"), range(3)):
            path = folder / "images" / split / label / f"{count}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (80 * count, 100, 200 if label == "bright" else 0)).save(path)
        return {"root": str(folder / "images")}

    @property
    def splits(self) -> tuple[str, ...]:
        return (*self._folder.files, "test") if self.options.hold_out else tuple(self._folder.files)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._labels.class_names

    def images(self, split: str) -> MappedStore:
        """Return the images of a split without reading labels.

        Raises:
            DataError: the images are missing, ``broken_limit`` is exceeded, or all images of the split are unreadable.
        """
        if split not in self.splits:
            raise DataError(f"{self.options.root} has no split {split!r}. It has: {', '.join(self.splits)}.")
        path, index = self._decoded
        count = len(self._readable(split))
        if not count:
            broken = {file.path: index.broken[file.path] for file in self._scan.files[split]}
            raise no_readable_images(self._scan, broken, split)
        earlier = self.splits[: self.splits.index(split)]
        start = sum(len(self._readable(other)) for other in earlier)
        return MappedStore(path, start, count, path.parent.name)

    def load(self, split: str) -> Split:
        numbers = self._labels.by_split.get(split)
        images = self.images(split)
        readable = self._readable(split)
        labels = None if numbers is None else torch.tensor([numbers[index] for index in readable], dtype=torch.int64)
        files = self._scan.files[split]
        return Split(images, labels, tuple(files[index].path for index in readable))

    def report(self) -> Mapping[str, Any]:
        """Return a report of how the images were read.

        ``read``: why each split has labels or has none. ``broken``: skipped files, with the reason.
        ``ignored``: number of files that are not images, keyed by extension. ``unread``: sub-folders next to the
        splits. ``converted``: number of images, keyed by kind of conversion. ``values``: value ranges of images of more
        than 8 bits. ``size``: stored size ``[C, H, W]``. ``resized``: number of images that were resized.
        """
        path, index = self._decoded
        return {
            "read": dict(self._labels.reasons),
            "broken": [{"file": file, "reason": reason} for file, reason in index.broken.items()],
            "ignored": dict(self._scan.ignored),
            "unread": list(self._scan.unread_folders),
            "converted": index.converted,
            "values": [asdict(extent) for extent in index.extents],
            "size": list(MappedStore(path).shape),
            "resized": index.resized,
        }

    def notes(self) -> tuple[str, ...]:
        _, index = self._decoded
        options, scan = self.options, self._scan
        duplicates = tuple(group for group in self._content.duplicates if not index.broken.keys() & set(group))
        return (
            *(f"{split}: {reason}" for split, reason in self._labels.reasons.items()),
            *notes.describe_broken(index, len(scan.all_files), options.broken_limit),
            *notes.describe_files(scan, index),
            *notes.describe_values(index.extents, options.value_range),
            *notes.describe_duplicates(duplicates, scan, self._labels),
        )

    @cached_property
    def _folder(self) -> FolderScan:
        return scan_folder(self.options.root)

    @cached_property
    def _content(self) -> FolderContent:
        return read_content(self._folder, entries_folder() / "hashes")

    @cached_property
    def _scan(self) -> FolderScan:
        """Files of each split, after test images are held out."""
        fraction = self.options.hold_out
        if not fraction:
            return self._folder
        read_labels(self._folder, self.options.labels)  # before any file is read
        return hold_out(self._folder, fraction, self.options.hold_out_seed, self._content.duplicates)

    @cached_property
    def _labels(self) -> FolderLabels:
        return read_labels(self._scan, self.options.labels)

    @cached_property
    def _decoded(self) -> tuple[Path, DecodedIndex]:
        options = self.options
        content = self._content.hash
        path, index = decode_folder(self._scan, content, options.channels, options.size, options.value_range)
        self._check_broken(index)
        return path, index

    def _readable(self, split: str) -> list[int]:
        """Return the indices of the readable files among the files of a split."""
        _, index = self._decoded
        return [number for number, file in enumerate(self._scan.files[split]) if file.path not in index.broken]

    def _check_broken(self, index: DecodedIndex) -> None:
        count, total, limit = len(index.broken), len(self._scan.all_files), self.options.broken_limit
        if count > limit * total:
            lines = [f"  {printable(file)}: {reason}" for file, reason in list(index.broken.items())[:LISTED_IN_ERROR]]
            lines += [f"  and {count - LISTED_IN_ERROR} more"] * (count > LISTED_IN_ERROR)
            sufficient = -(-1000 * count // total) / 1000
            raise DataError(
                f"{count} of {total} images of {self.options.root} cannot be read, more than "
                f"broken_limit = {limit:g} allows:\n" + "\n".join(lines) + "\n"
                f"Repair or remove them, or set broken_limit = {sufficient:g} to skip them."
            )
