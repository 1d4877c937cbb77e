"""Content of images: the checksums that identify images in ``corrections.csv``."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from sslkit.data.datasets.folder.content_hash import file_hash
from sslkit.data.threads import map_in_threads
from sslkit.explore.run_images import RunImages


class Contents:
    """Checksums of the images of a run, each computed when it is first needed.

    The checksum is the SHA-256 of the file, or of the stored pixels if the images are not files. Images with equal
    content get the same corrections.

    Args:
        images: the images.
    """

    def __init__(self, images: RunImages) -> None:
        self.images = images
        self._digests: dict[int, str] = {}

    def same(self, indices: Iterable[int]) -> dict[str, list[int]]:
        """Return the indices of all images with the same content as an image in ``indices``, keyed by checksum."""
        wanted = list(indices)
        self._hash(copy for size in {self.size(index) for index in wanted} for copy in self._by_size[size])
        contents = dict.fromkeys(self._digests[index] for index in wanted)
        return {content: [] for content in contents} | self._indices(contents)

    def find(self, contents: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
        """Return the indices of the images with each content, keyed by checksum; an empty list if there are none.

        Args:
            contents: checksum and size in bytes of each content.
        """
        wanted = dict(contents)
        self._hash(index for size in set(wanted.values()) for index in self._by_size.get(size, ()))
        return {content: [] for content in wanted} | self._indices(wanted)

    def size(self, index: int) -> int:
        """Return the number of bytes of an image's file or of its stored pixels; -1 if the file is missing."""
        return self._sizes[index]

    def digest(self, index: int) -> str:
        """Return the checksum of an image."""
        self._hash([index])
        return self._digests[index]

    @cached_property
    def _sizes(self) -> list[int]:
        root = self.images.root
        if root is not None:
            return [_file_size(root / file) for file in self.images.files]
        channels, height, width = self.images.stores[0].shape
        return [channels * height * width] * len(self.images)

    @cached_property
    def _by_size(self) -> dict[int, list[int]]:
        groups: dict[int, list[int]] = defaultdict(list)
        for index, size in enumerate(self._sizes):
            groups[size].append(index)
        return groups

    def _indices(self, contents: Iterable[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {content: [] for content in contents}
        for index, digest in self._digests.items():
            if digest in found:
                found[digest].append(index)
        return found

    def _hash(self, indices: Iterable[int]) -> None:
        missing = [index for index in dict.fromkeys(indices) if index not in self._digests]
        root = self.images.root
        if root is None:
            digests: Iterable[str] = map(self._pixel_hash, missing)
        else:
            files = self.images.files
            digests = map_in_threads(lambda index: file_hash(root / files[index]), missing)
        for index, digest in zip(missing, digests, strict=True):
            self._digests[index] = self._pixel_hash(index) if digest.startswith("unreadable") else digest

    def _pixel_hash(self, index: int) -> str:
        return hashlib.sha256(self.images.pixels(index).numpy().tobytes()).hexdigest()


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
