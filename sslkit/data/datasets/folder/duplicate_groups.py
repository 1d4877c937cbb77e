"""Groups of identical files, and selection of the groups that span multiple splits or classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sslkit.data.datasets.folder.labels import FolderLabels
from sslkit.data.datasets.folder.scan import FolderScan

DuplicateGroups = tuple[tuple[str, ...], ...]
"""Paths of the images of each group of duplicates."""


def group_by_digest(paths: Sequence[str], digests: Iterable[str]) -> DuplicateGroups:
    """Return groups of two or more paths with the same digest; unreadable files are left out."""
    by_content: dict[str, list[str]] = defaultdict(list)
    for path, digest in zip(paths, digests, strict=True):
        by_content[digest].append(path)
    return tuple(tuple(group) for digest, group in by_content.items() if len(group) > 1 and ":" not in digest)


def across_splits(groups: DuplicateGroups, scan: FolderScan) -> DuplicateGroups:
    """Return the groups with files in more than one split, which make results on these splits too optimistic."""
    split = {file.path: name for name, files in scan.files.items() for file in files}
    return tuple(group for group in groups if len({split[path] for path in group}) > 1)


def across_classes(groups: DuplicateGroups, scan: FolderScan, labels: FolderLabels) -> DuplicateGroups:
    """Return the groups with files in more than one class, which therefore have contradictory labels."""
    label = {
        file.path: number
        for name, numbers in labels.by_split.items()
        for file, number in zip(scan.files[name], numbers, strict=True)
    }
    return tuple(group for group in groups if len({label[path] for path in group if path in label}) > 1)
