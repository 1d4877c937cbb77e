"""Notes on how an image folder was read, which training prints at the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sslkit.data.datasets.folder.decoded_cache import DecodedIndex
from sslkit.data.datasets.folder.duplicate_groups import DuplicateGroups, across_classes, across_splits
from sslkit.data.datasets.folder.labels import FolderLabels
from sslkit.data.datasets.folder.scan import FolderScan, describe_ignored, printable
from sslkit.data.value_range import TOP, Extent, ValueRange, suggest_range

MAX_BROKEN = 100
"""Maximum number of broken files to list. All broken files are in the run's ``provenance.json``."""

MAX_GROUPS = 3
"""Maximum number of groups of identical files to list. All other groups are only counted."""


def describe_broken(index: DecodedIndex, total: int, limit: float) -> list[str]:
    """Return lines about the broken files among ``total`` files, or an empty list if no file is broken.

    ``limit`` is the value of the option ``broken_limit``.
    """
    if not index.broken:
        return []
    allowed = f"broken_limit = {limit:g} allows it"
    lines = [f"{len(index.broken)} of {total} images cannot be read and are skipped, {allowed}:"]
    lines += [f"  {printable(file)}: {reason}" for file, reason in list(index.broken.items())[:MAX_BROKEN]]
    unlisted = len(index.broken) - MAX_BROKEN
    return lines + [f"  and {unlisted} more, all in the run's provenance.json"] * (unlisted > 0)


def describe_files(scan: FolderScan, index: DecodedIndex) -> list[str]:
    """Return sentences about files that are not read and images that are converted."""
    notes = []
    if index.converted:
        counts = ", ".join(f"{count} {kind}" for kind, count in index.converted.items())
        notes.append(f"images that are converted: {counts}")
    if scan.ignored:
        notes.append(f"other files are ignored: {describe_ignored(scan.ignored)}")
    unread = [f"{printable(name)}/" for name in scan.unread_folders]
    unread += [f"{scan.unread_images} images in {printable(str(scan.root))}"] * (scan.unread_images > 0)
    if unread:
        folders = ", ".join(f"{printable(folder)}/" for folder in scan.split_folders.values())
        notes.append(f"not read, because next to {folders}: {', '.join(unread)}")
    return notes


def describe_values(extents: Sequence[Extent], value_range: Literal["dtype"] | ValueRange) -> list[str]:
    """Return sentences about how images with more than 8 bits are scaled.

    If the scaled images use few of the 256 levels of uint8, the only sentence is a warning that suggests
    a better ``value_range``.
    """
    if value_range != "dtype":
        if not extents:
            return ["value_range has no effect: no image has more than 8 bits"]
        found = " and ".join(f"{extent.images} images with the {extent.kind} values {extent}" for extent in extents)
        return [f"value_range = {format_range(value_range)} scales {found}; images of 8 bits stay as they are"]
    notes = [
        f"{extent.images} images have the {extent.kind} values {extent} of {TOP[extent.kind]}: "
        f"{extent.levels} of 256 levels are used"
        for extent in extents
    ]
    if suggested := suggest_range(extents):
        notes = [f"warning: {notes[0]}. To use all levels, set data.value_range = {format_range(suggested)}"]
    return notes


def format_range(value_range: ValueRange) -> str:
    """Format a value range as TOML."""
    low, high = value_range
    return f"[{low:g}, {high:g}]" if max(abs(low), abs(high)) < 1e6 else f"[{low!r}, {high!r}]"


def describe_duplicates(groups: DuplicateGroups, scan: FolderScan, labels: FolderLabels) -> list[str]:
    """Return warnings about identical files in more than one split, or with more than one label."""
    notes = []
    if leaking := across_splits(groups, scan):
        where = " and ".join(scan.files)
        notes.append(
            f"warning: {_count(leaking)} in more than one of {where}, so results on them are too good: "
            f"{_list(leaking)}. Remove all but one of each"
        )
    if conflicting := across_classes(groups, scan, labels):
        notes.append(
            f"warning: {_count(conflicting)} in more than one class, so their labels contradict each other: "
            f"{_list(conflicting)}. Keep one of each"
        )
    return notes


def _count(groups: DuplicateGroups) -> str:
    return "1 identical image is" if len(groups) == 1 else f"{len(groups)} identical images are"


def _list(groups: DuplicateGroups) -> str:
    shown = "; ".join(" = ".join(map(printable, group[:MAX_GROUPS])) for group in groups[:MAX_GROUPS])
    more = len(groups) - MAX_GROUPS
    return shown + (f"; and {more} more" if more > 0 else "")
