"""Finding the images of a folder, without opening any.

Where the folder has a sub-folder ``train``, its splits are ``train``, ``validation`` (or ``val``) and ``test``, and
nothing beside these is read.  Otherwise every image below the folder belongs to ``train``.

Files count as images by extension.  Hidden files and folders (names with a leading dot) are left out.  Links to
files are read like files; links to folders are followed, except to a folder that holds the link.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sslkit.data.images import EXTENSIONS, PASSING
from sslkit.errors import DataError

SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}

HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that should hold an image.

    Attributes:
        path: relative to the root, with forward slashes.
        stamp: size, time of change of content and of the file's record, in bytes and ns; all -1 for a dangling link.
    """

    path: str
    stamp: tuple[int, int, int]


@dataclass(frozen=True)
class Tree:
    """The images of a folder.

    Attributes:
        root: the folder.
        folders: the sub-folder that each split is in; ``train`` is in ``""`` where there are no split folders.
        files: the images of each split, by path.
        ignored: how many files were left out, by extension; ``hidden`` for hidden files and folders.
        unread: sub-folders beside the split folders.
    """

    root: Path
    folders: Mapping[str, str]
    files: Mapping[str, tuple[ImageFile, ...]]
    ignored: Mapping[str, int]
    unread: tuple[str, ...]

    @property
    def all_files(self) -> tuple[ImageFile, ...]:
        """The images of all splits, one split after the other."""
        return tuple(file for files in self.files.values() for file in files)

    def within_split(self, split: str) -> list[PurePosixPath]:
        """Each image's path below the folder of its split."""
        folder = self.folders[split]
        return [PurePosixPath(file.path).relative_to(folder) for file in self.files[split]]


def shown(name: str) -> str:
    """A file name that cannot break a line or command a terminal."""
    return name if name.isprintable() else ascii(name)


def images_at(path: Path) -> tuple[Path, tuple[ImageFile, ...]]:
    """Every image below a folder, whatever its sub-folders are called, and the folder; or a file, and its folder.

    Raises:
        DataError: there is nothing there, or no image, or the folder cannot be listed.
    """
    if path.is_file():
        status = path.stat()
        return path.parent, (ImageFile(path.name, (status.st_size, status.st_mtime_ns, status.st_ctime_ns)),)
    if not path.is_dir():
        raise DataError(f"there is no file or folder {path}")
    ignored: Counter[str] = Counter()
    try:
        found = _images(path, "", ignored)
    except OSError as error:
        raise DataError(f"the image folder {path} cannot be read: {error}. Check the permissions.") from error
    if not found:
        raise _no_images(path, ignored)
    return path, found


def scan(root: Path) -> Tree:
    """Find the images below ``root``.

    Raises:
        DataError: the folder is missing or cannot be listed, has splits without ``train``, or a split has no images.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"the image folder {root} {what} (a relative root is taken from {Path.cwd()})")
    try:
        return _scan(root)
    except OSError as error:
        raise DataError(f"the image folder {root} cannot be read: {error}. Check the permissions.") from error


def _scan(root: Path) -> Tree:
    ignored: Counter[str] = Counter()
    visible = sorted(entry.name for entry in os.scandir(root) if _is_folder(entry) and not entry.name.startswith("."))
    named = [name for name in SPLIT_FOLDERS if name in visible]
    folders = {SPLIT_FOLDERS[name]: name for name in named} or {"train": ""}
    if len(folders) < len(named) and named:
        raise DataError(f"{root} has both val and validation; keep one of them.")
    if "train" not in folders:
        raise DataError(
            f"{root} has {' and '.join(named)}, but no train folder. Add {root / 'train'}, "
            "or set root to the folder to train on."
        )
    files = {split: _images(root, folder, ignored) for split, folder in folders.items()}
    for split, found in files.items():
        if not found:
            raise _no_images(root / folders[split], ignored)
    unread = tuple(name for name in visible if name not in named) if named else ()
    return Tree(root, folders, files, dict(sorted(ignored.items())), unread)


def _no_images(folder: Path, ignored: Mapping[str, int]) -> DataError:
    others = ", ".join(f"{count} {shown(kind)}" for kind, count in sorted(ignored.items())) or "no files at all"
    return DataError(
        f"no images in {folder} (found: {others}). Images are files named {', '.join(sorted(EXTENSIONS))}."
    )


def _images(root: Path, folder: str, ignored: Counter[str]) -> tuple[ImageFile, ...]:
    start = root / folder
    here = start.resolve()
    walk = _walk(start, f"{folder}/" if folder else "", ignored, {here, *here.parents})
    return tuple(sorted(walk, key=lambda file: file.path))


def _walk(folder: Path, prefix: str, ignored: Counter[str], above: set[Path]) -> Iterator[ImageFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122  # a Path per file doubles the time
            if entry.name.startswith("."):
                ignored[HIDDEN] += 1
            elif _is_folder(entry):
                inside = Path(entry.path)
                if not entry.is_symlink():
                    yield from _walk(inside, f"{prefix}{entry.name}/", ignored, above | {inside.resolve()})
                elif (target := inside.resolve()) not in above:
                    yield from _walk(inside, f"{prefix}{entry.name}/", ignored, above | {target})
            elif suffix in EXTENSIONS:
                yield ImageFile(prefix + entry.name, _stamp(entry))
            else:
                ignored[suffix or "no extension"] += 1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in PASSING:
            raise
        return False  # a link that leads to itself, or to where one may not go


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int, int]:
    try:
        status = entry.stat()
    except OSError:
        return -1, -1, -1
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
