"""Test split that is held out from the class folders of the training images.

The same fraction of each class is held out. Identical files stay together. Identical files in more than one class stay
in the training split. Images are chosen by a hash of path and seed, so adding an image moves few other images to
another split.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace

from sslkit.data.datasets.folder.duplicate_groups import DuplicateGroups
from sslkit.data.datasets.folder.scan import FolderScan
from sslkit.errors import DataError


def hold_out(scan: FolderScan, fraction: float, seed: int, duplicates: DuplicateGroups) -> FolderScan:
    """Return the scan with a fraction of each class folder moved from the split ``train`` to ``test``.

    A class of at least two different images has at least one image in each split.

    Args:
        scan: scan of a folder whose training images are all in class folders.
        fraction: fraction of each class to hold out, in (0, 1).
        seed: seed for choosing the held-out images.
        duplicates: groups of identical files.

    Raises:
        DataError: the folder already has a test split, or no image can be held out.
    """
    if "test" in scan.files:
        raise DataError(
            f"{scan.root / scan.split_folders['test']} is the test split already. Set hold_out = 0, or move the folder."
        )
    class_of = {
        file.path: path[0] for file, path in zip(scan.files["train"], scan.parts_in_split("train"), strict=True)
    }
    held: set[str] = set()
    for members in _members_by_class(class_of, duplicates).values():
        total = sum(map(len, members))
        wanted = min(max(1, round(fraction * total)), total - 1)
        for unit in sorted(members, key=lambda unit: _rank(seed, unit[0])):
            if len(unit) <= wanted:
                held.update(unit)
                wanted -= len(unit)
    if not held:
        raise DataError(f"no image of {scan.root} can be held out: every class has one image. Set hold_out = 0.")
    kept = tuple(file for file in scan.files["train"] if file.path not in held)
    test = tuple(file for file in scan.files["train"] if file.path in held)
    folder = scan.split_folders["train"]
    return replace(
        scan,
        split_folders={**scan.split_folders, "test": folder},
        files={**scan.files, "train": kept, "test": test},
    )


def _members_by_class(class_of: dict[str, str], duplicates: DuplicateGroups) -> dict[str, list[tuple[str, ...]]]:
    """Return, for each class, the files that stay together: groups of identical files, and every other file on its own.

    ``class_of`` maps path to class. Files with copies in another class are left out.
    """
    units: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    grouped: set[str] = set()
    for group in duplicates:
        unit = tuple(path for path in group if path in class_of)
        grouped.update(unit)
        if len({class_of[path] for path in unit}) == 1:
            units[class_of[unit[0]]].append(unit)
    for path, name in class_of.items():
        if path not in grouped:
            units[name].append((path,))
    return units


def _rank(seed: int, path: str) -> bytes:
    return hashlib.sha256(f"{seed} {path}".encode(errors="surrogateescape")).digest()
