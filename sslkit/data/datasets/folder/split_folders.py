"""Recognise the sub-folders that are splits of an image folder by their usual names.

Capitals, digits, separators and words such as ``set`` or ``images`` are ignored: ``Train``, ``training_set`` and
``train2017`` all mean ``train``. A folder with such a name can also be a class, such as the vehicle "train". Therefore,
only a folder with the exact name ``train`` is always a split. Any other training folder, such as ``Train``, is a split
only if there is no other folder, or if there is a validation or test folder. Validation and test folders without a
training folder are an error, except ``valid`` and ``dev``, which may be classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sslkit.errors import DataError

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
"""Usual names of each split's folder."""

NAMES_NEXT_TO_TRAIN = ("valid", "dev")
"""Names that count as a split only next to a training folder, because they may be classes."""

FILLERS = ("set", "data", "dataset", "split", "image", "images", "img", "imgs")
"""Words to ignore in the name of a folder."""


def find_split_folders(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the folder of each split; empty if there are no splits. ``names`` are the sub-folders of ``root``.

    Raises:
        DataError: a split has two folders, there is no training folder, or the name of a folder only resembles that of
            a split.
    """
    found: dict[str, list[str]] = {split: [] for split in SPLIT_NAMES}
    for name in names:
        for split, words in SPLIT_NAMES.items():
            if _without_fillers(name) in words:
                found[split].append(name)
    evaluated = found["validation"] + found["test"]
    if not found["train"]:
        certain = [name for name in evaluated if _without_fillers(name) not in NAMES_NEXT_TO_TRAIN]
        _check_resembling(root, names, certain)
        if certain:
            raise DataError(
                f"{root} has {' and '.join(certain)}, but no train folder. Add {root / 'train'}, "
                "or set root to the folder of the training images."
            )
        return {}
    if "train" not in names and not evaluated and len(names) > 1:
        return {}
    for folders in found.values():
        if len(folders) > 1:
            raise DataError(f"{root} has both {' and '.join(folders)}. Keep one of them.")
    return {split: folders[0] for split, folders in found.items() if folders}


def _check_resembling(root: Path, names: Sequence[str], evaluated: Sequence[str]) -> None:
    """Raise a ``DataError`` for names such as ``seg_train`` and ``seg_test``, to keep test images out of training.

    ``names`` are all sub-folders; ``evaluated`` are those that are certainly validation or test folders."""

    def resembling(*splits: str) -> list[str]:
        words = {word for split in splits for word in SPLIT_NAMES[split] if word not in NAMES_NEXT_TO_TRAIN}
        return [name for name in names if words & set(_words(name))]

    train, others = resembling("train"), [*evaluated, *resembling("validation", "test")]
    if train and others:
        raise DataError(
            f"{root} has {' and '.join(dict.fromkeys(train + others))}, which may be splits. Rename them to train, "
            "validation and test, or set root to the folder of the training images."
        )


def _without_fillers(name: str) -> str:
    words = _words(name)
    return " ".join(word for word in words if word not in FILLERS) or " ".join(words)


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name.casefold())
