"""Your own images: any folder of image files, with or without classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.options import Options as BaseOptions
from sslkit.data.datasets.folder.decoded import Index, decoded
from sslkit.data.datasets.folder.labels import Labels, Reading, read_labels
from sslkit.data.datasets.folder.scan import Tree, scan, shown
from sslkit.data.datasets.paths import FolderPath
from sslkit.data.store import MappedStore
from sslkit.errors import DataError

LISTED = 10
"""Broken files that an error lists; the rest is counted."""

NOTED = 100
"""Broken files that are listed when a training starts; the rest is counted, and in the run's record."""


class ImageFolder(Dataset):
    """Images in a folder, decoded once into the cache and mapped from there.

    How splits and labels are found is told in ``scan`` and
    ``labels``; how pixels become uint8, in ``images``.  Labels come
    from names alone: ``images`` opens a split without reading any.
    """

    api = 1

    class Options(BaseOptions):
        """What to read, and as what."""

        root: FolderPath
        """Folder of images; with sub-folders train and, if there are, validation (or val) and test."""

        labels: Reading = "auto"
        """folders: the folder below train (or below root, if it has no train) is the class. none: no labels are read.
        auto: train/<class>/<file> are classes unless there is one folder only or one per image; else no labels."""

        channels: Literal[1, 3] = 3
        """3: every image becomes RGB; 1: every image becomes grey."""

        size: Literal["auto"] | Annotated[int, Field(ge=8, le=4096)] = "auto"
        """Images are scaled until the shorter side has so many pixels, and the middle square is kept. auto: the
        images' own size if all have the same and its shorter side is at most 256; else their median shorter side, at
        most 256."""

        broken_limit: float = Field(default=0.05, ge=0, le=1)
        """Largest fraction of files that may be unreadable; so many are skipped and reported, more are an error."""

    options: Options

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._tree.files)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._labels.class_names

    def images(self, split: str) -> MappedStore:
        """uint8 images of a split, whatever its labels are.

        Raises:
            DataError: the images are missing, more of them are unreadable than the options allow, or all of the split.
        """
        if split not in self.splits:
            raise DataError(f"{self.options.root} has no split {split!r}; it has {', '.join(self.splits)}.")
        path, index = self._decoded
        if not self._kept(split):
            files = self._tree.files[split]
            raise DataError(
                f"none of the {len(files)} images of the split {split!r} of {self.options.root} can be read; "
                f"the first is {shown(files[0].path)}: {index.broken[files[0].path]}."
            )
        before = self.splits[: self.splits.index(split)]
        start = sum(len(self._kept(other)) for other in before)
        return MappedStore(path, start, len(self._kept(split)), path.parent.name)

    def load(self, split: str) -> Split:
        numbers = self._labels.by_split.get(split)
        images = self.images(split)
        kept = self._kept(split)
        labels = None if numbers is None else torch.tensor([numbers[place] for place in kept], dtype=torch.int64)
        files = self._tree.files[split]
        return Split(images, labels, tuple(files[place].path for place in kept))

    def report(self) -> Mapping[str, Any]:
        """What was read, and how.

        ``read``: per split, whether it has labels and why; ``broken``: files skipped, with the reason; ``ignored``:
        files that are no images, by extension; ``unread``: sub-folders beside the splits; ``converted``: images by
        conversion; ``size``: ``[C, H, W]`` as stored; ``resized``: images that had another size.
        """
        path, index = self._decoded
        return {
            "read": dict(self._labels.reasons),
            "broken": [{"file": file, "reason": reason} for file, reason in index.broken.items()],
            "ignored": dict(self._tree.ignored),
            "unread": list(self._tree.unread),
            "converted": index.converted,
            "size": list(MappedStore(path).shape),
            "resized": index.resized,
        }

    def notes(self) -> tuple[str, ...]:
        report = self.report()
        notes = [f"{split}: {reason}" for split, reason in report["read"].items()]
        broken = report["broken"]
        if broken:
            limit = f"broken_limit = {self.options.broken_limit:g} allows it"
            notes.append(
                f"{len(broken)} of {len(self._tree.all_files)} images cannot be read and are skipped, {limit}:"
            )
            notes += [f"  {shown(item['file'])}: {item['reason']}" for item in broken[:NOTED]]
            notes += [f"  and {len(broken) - NOTED} more, all in the run's provenance.json"] * (len(broken) > NOTED)
        if report["ignored"]:
            counts = ", ".join(f"{count} {shown(extension)}" for extension, count in report["ignored"].items())
            notes.append(f"files that are no images are ignored: {counts}")
        return tuple(notes)

    @cached_property
    def _tree(self) -> Tree:
        return scan(self.options.root)

    @cached_property
    def _labels(self) -> Labels:
        return read_labels(self._tree, self.options.labels)

    @cached_property
    def _decoded(self) -> tuple[Path, Index]:
        path, index = decoded(self._tree, self.options.channels, self.options.size)
        self._check_broken(index)
        return path, index

    def _kept(self, split: str) -> list[int]:
        """Places, among the files of a split, of those that gave an image."""
        _, index = self._decoded
        return [place for place, file in enumerate(self._tree.files[split]) if file.path not in index.broken]

    def _check_broken(self, index: Index) -> None:
        count, total, limit = len(index.broken), len(self._tree.all_files), self.options.broken_limit
        if count > limit * total:
            lines = [f"  {shown(file)}: {reason}" for file, reason in list(index.broken.items())[:LISTED]]
            lines += [f"  and {count - LISTED} more"] * (count > LISTED)
            enough = -(-1000 * count // total) / 1000
            raise DataError(
                f"{count} of {total} images of {self.options.root} cannot be read, more than "
                f"broken_limit = {limit:g} allows:\n" + "\n".join(lines) + "\n"
                f"Repair or remove them, or raise broken_limit to {enough:g} to go on without them."
            )
