"""Labels of an image folder, read from the names of its sub-folders.

Unlabelled collections often have a folder per image, one folder for all images, or sub-folders with a different
meaning. Such folders give meaningless labels. With ``labels = "auto"``, folders are therefore read as classes only in
unambiguous layouts, and the decision for each split is recorded with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sslkit.data.datasets.folder.scan import FolderScan, printable
from sslkit.errors import DataError

LabelMode = Literal["auto", "folders", "none"]

LISTED = 5
"""Maximum number of names in a message. All other names are only counted."""


@dataclass(frozen=True)
class FolderLabels:
    """Labels of each split.

    Attributes:
        class_names: sorted class names, or an empty tuple if no split has labels.
        by_split: class index of each image, keyed by split; contains only splits with labels.
        reasons: why each split has labels or has none, keyed by split.
    """

    class_names: tuple[str, ...]
    by_split: Mapping[str, tuple[int, ...]]
    reasons: Mapping[str, str]


def read_labels(scan: FolderScan, mode: LabelMode) -> FolderLabels:
    """Read the labels of every split from the names of its class folders.

    Args:
        scan: the folder.
        mode: the option ``labels`` of the data set: ``folders`` always reads class folders, ``none`` never does, and
            ``auto`` does if the layout of the split is unambiguous.

    Raises:
        DataError: the mode is ``folders`` and an image is not in a class folder, or a split has classes that the
            training images do not have.
    """
    classes: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for split in scan.files:
        paths = scan.parts_in_split(split)
        reason = _why_unlabelled(scan, split, paths, mode, train_labelled="train" in classes)
        if reason:
            reasons[split] = f"unlabelled: {reason}"
        else:
            classes[split] = [path[0] for path in paths]
            reasons[split] = f"labelled: {len(set(classes[split]))} class folders"
        if split == "test" and scan.split_folders["test"] == scan.split_folders["train"]:
            reasons[split] += ", held out of the training images"
        elif (folder := scan.split_folders[split]) not in ("", split):
            reasons[split] += f", read from {printable(folder)}/"
    names = tuple(sorted(set(classes["train"]) if "train" in classes else set().union(*classes.values())))
    for split, of_split in classes.items():
        _check_known(scan, split, set(of_split) - set(names), names)
    index = {name: number for number, name in enumerate(names)}
    by_split = {split: tuple(index[name] for name in of_split) for split, of_split in classes.items()}
    return FolderLabels(names, by_split, reasons)


def may_be_classes(scan: FolderScan) -> bool:
    """Return whether the sub-folders of a folder without splits look like classes.

    The layout must be ``<class>/<file>``, with at least two classes of at least two images each.
    """
    if scan.split_folders != {"train": ""}:
        return False
    paths = scan.parts_in_split("train")
    counts = Counter(path[0] for path in paths)
    return all(len(path) == 2 for path in paths) and len(counts) > 1 and min(counts.values()) > 1


def _why_unlabelled(
    scan: FolderScan, split: str, paths: Sequence[Sequence[str]], mode: LabelMode, train_labelled: bool
) -> str:
    """Return the reason why a split has no labels, or ``""`` if its class folders give the labels.

    Args:
        scan: the folder.
        split: name of the split.
        paths: folders and file name of each image, relative to the folder of the split.
        mode: the option ``labels`` of the data set.
        train_labelled: whether the training images have labels.

    Raises:
        DataError: the mode is ``folders``, and an image is not in a class folder.
    """
    if mode == "none":
        return "labels = 'none'"
    if mode == "folders":
        if loose := ["/".join(path) for path in paths if len(path) < 2]:
            raise DataError(
                f"labels = 'folders', but {len(loose)} images of {scan.root / scan.split_folders[split]} are not in a "
                f"class folder: {list_some(loose)}. Move them into class folders, or set labels = 'none'."
            )
        return ""
    classes = {path[0] for path in paths}
    if not scan.split_folders[split]:
        hint = " (labels = 'folders' reads the sub-folders as classes)"
        return "there are no train and test folders" + hint * any(len(path) > 1 for path in paths)
    if misplaced := sum(len(path) != 2 for path in paths):
        return f"{misplaced} of {len(paths)} images are not in {scan.split_folders[split]}/<class>/<file>"
    if train_labelled:  # therefore the folders of this split are classes, even a single folder
        return ""
    if len(classes) == 1:
        return f"all images are in one folder, {classes.pop()!r}"
    if len(classes) == len(paths):
        return "every image has a folder of its own"
    return ""


def _check_known(scan: FolderScan, split: str, unknown: set[str], names: Sequence[str]) -> None:
    if unknown:
        raise DataError(
            f"{scan.root / scan.split_folders[split]} has classes that the training images do not have: "
            f"{list_some(sorted(unknown))}; the training classes are {list_some(names)}. "
            "Rename the folders, or set labels = 'none'."
        )


def list_some(names: Sequence[str]) -> str:
    """Return the first ``LISTED`` names as one string, followed by the number of remaining names."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(printable, names[:LISTED])) + more
