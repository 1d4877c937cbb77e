"""Reading labels from the names of folders, and saying how.

A folder per image, one folder for all images, or sub-folders of another meaning are common in unlabelled
collections; read as classes they give labels that mean nothing.  So ``auto`` takes folders for classes only where
little else can be meant, and every split's reading comes with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from sslkit.data.datasets.folder.scan import Tree, shown
from sslkit.errors import DataError

Reading = Literal["auto", "folders", "none"]

SHOWN = 5


@dataclass(frozen=True)
class Labels:
    """How the splits were read.

    Attributes:
        class_names: sorted; empty where no split has labels.
        by_split: class number of each image, for the splits that have labels.
        reasons: for each split, how it was read and why.
    """

    class_names: tuple[str, ...]
    by_split: Mapping[str, tuple[int, ...]]
    reasons: Mapping[str, str]


def read_labels(tree: Tree, reading: Reading) -> Labels:
    """The labels of every split, read as the option ``labels`` asks.

    Raises:
        DataError: ``folders`` is asked for and an image is in no class folder, or a split has classes that the
            training images do not have.
    """
    classes: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for split in tree.files:
        paths = tree.within_split(split)
        against = _why_not(tree, split, paths, reading, trained="train" in classes)
        if against:
            reasons[split] = f"unlabelled: {against}"
        else:
            classes[split] = [path.parts[0] for path in paths]
            reasons[split] = f"labelled: {len(set(classes[split]))} class folders"
    names = tuple(sorted(set(classes["train"]) if "train" in classes else set().union(*classes.values())))
    for split, found in classes.items():
        _check_known(tree, split, set(found) - set(names), names)
    number = {name: place for place, name in enumerate(names)}
    return Labels(names, {split: tuple(number[name] for name in found) for split, found in classes.items()}, reasons)


def _why_not(tree: Tree, split: str, paths: Sequence[PurePosixPath], reading: Reading, trained: bool) -> str:
    """Why these paths are not read as ``class/file``; empty if they are."""
    if reading == "none":
        return "labels = 'none'"
    if reading == "folders":
        if loose := [str(path) for path in paths if len(path.parts) < 2]:
            raise DataError(
                f"labels = 'folders', but {len(loose)} images of {tree.root / tree.folders[split]} are in no class "
                f"folder: {_some(loose)}. Move them into class folders, or set labels = 'none'."
            )
        return ""
    classes = {path.parts[0] for path in paths}
    if not tree.folders[split]:
        return "there are no train and test folders (labels = 'folders' reads the sub-folders as classes)"
    if odd := sum(len(path.parts) != 2 for path in paths):
        return f"{odd} of {len(paths)} images are not in {tree.folders[split]}/<class>/<file>"
    if trained:  # train has shown that its folders are classes
        return ""
    if len(classes) == 1:
        return f"all images are in one folder, {classes.pop()!r}"
    if len(classes) == len(paths):
        return "every image has a folder of its own"
    return ""


def _check_known(tree: Tree, split: str, unknown: set[str], names: Sequence[str]) -> None:
    if unknown:
        raise DataError(
            f"{tree.root / tree.folders[split]} has classes that the training images do not have: "
            f"{_some(sorted(unknown))}; the training classes are {_some(names)}. "
            "Rename the folders, or set labels = 'none'."
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(shown, names[:SHOWN])) + more
