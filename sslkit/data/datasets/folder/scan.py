"""Scan of an image folder: finds the files of each split without opening any.

A folder with a sub-folder ``train`` has the splits ``train``, ``validation`` (or ``val``) and ``test``; its other
sub-folders and files are not read. In any other folder, all images belong to ``train``.

Files are images by extension. Hidden files and folders (leading dot) are ignored. Links to files are read like files.
Links to folders are followed, except links to a parent folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sslkit.data.image_files import EXTENSIONS, TRANSIENT_ERRORS
from sslkit.errors import DataError

SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
"""Split that is read from each sub-folder."""

HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file with an image's extension.

    Attributes:
        path: path relative to the root, with forward slashes.
        stamp: size in bytes, modification time and status-change time in ns; all -1 for a dangling link.
    """

    path: str
    stamp: tuple[int, int, int]


@dataclass(frozen=True)
class FolderScan:
    """Image files of a folder, by split.

    Attributes:
        root: the folder.
        split_folders: sub-folder of each split; ``""`` for ``train`` if there are no split folders.
        files: image files of each split, sorted by path.
        ignored: number of ignored files by extension; ``hidden`` counts hidden files and folders.
        unread_folders: sub-folders next to the split folders.
    """

    root: Path
    split_folders: Mapping[str, str]
    files: Mapping[str, tuple[ImageFile, ...]]
    ignored: Mapping[str, int]
    unread_folders: tuple[str, ...]

    @property
    def all_files(self) -> tuple[ImageFile, ...]:
        """Image files of all splits, one split after the other."""
        return tuple(file for files in self.files.values() for file in files)

    def paths_in_split(self, split: str) -> list[PurePosixPath]:
        """Return the path of each image relative to the folder of its split."""
        folder = self.split_folders[split]
        return [PurePosixPath(file.path).relative_to(folder) for file in self.files[split]]


def printable(name: str) -> str:
    """Return a file name in which control characters, such as line breaks, are escaped."""
    return name if name.isprintable() else ascii(name)


def find_images(path: Path) -> tuple[Path, tuple[ImageFile, ...]]:
    """Return a folder and all images below it, ignoring splits; for a single file, its folder and the file.

    Raises:
        DataError: the path does not exist, the folder cannot be listed, or it has no images.
    """
    if path.is_file():
        status = path.stat()
        return path.parent, (ImageFile(path.name, (status.st_size, status.st_mtime_ns, status.st_ctime_ns)),)
    if not path.is_dir():
        raise DataError(f"there is no file or folder {path}")
    ignored: Counter[str] = Counter()
    try:
        files = _images(path, "", ignored)
    except OSError as error:
        raise _cannot_list(path, error) from error
    if not files:
        raise _no_images(path, ignored)
    return path, files


def scan_folder(root: Path) -> FolderScan:
    """Find the images below ``root``, by split.

    Raises:
        DataError: the folder does not exist or cannot be listed, has splits but no ``train``, or a split has no images.
    """
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"the image folder {root} {problem} (relative paths start at {Path.cwd()})")
    try:
        return _scan(root)
    except OSError as error:
        raise _cannot_list(root, error) from error


def _scan(root: Path) -> FolderScan:
    ignored: Counter[str] = Counter()
    visible = sorted(entry.name for entry in os.scandir(root) if _is_folder(entry) and not entry.name.startswith("."))
    present = [name for name in SPLIT_FOLDERS if name in visible]
    folders = {SPLIT_FOLDERS[name]: name for name in present} or {"train": ""}
    if len(folders) < len(present) and present:
        raise DataError(f"{root} has both val and validation. Keep one of them.")
    if "train" not in folders:
        raise DataError(
            f"{root} has {' and '.join(present)}, but no train folder. Add {root / 'train'}, "
            "or set root to the folder of the training images."
        )
    files = {split: _images(root, folder, ignored) for split, folder in folders.items()}
    for split, of_split in files.items():
        if not of_split:
            raise _no_images(root / folders[split], ignored)
    unread = tuple(name for name in visible if name not in present) if present else ()
    return FolderScan(root, folders, files, dict(sorted(ignored.items())), unread)


def _cannot_list(folder: Path, error: OSError) -> DataError:
    return DataError(f"the image folder {folder} cannot be read: {error}. Check the permissions.")


def _no_images(folder: Path, ignored: Mapping[str, int]) -> DataError:
    others = ", ".join(f"{count} {printable(kind)}" for kind, count in sorted(ignored.items())) or "no files at all"
    return DataError(f"no images in {folder} (found: {others}). Image files end with {', '.join(sorted(EXTENSIONS))}.")


def _images(root: Path, folder: str, ignored: Counter[str]) -> tuple[ImageFile, ...]:
    start = root / folder
    resolved = start.resolve()
    files = _walk(start, f"{folder}/" if folder else "", ignored, {resolved, *resolved.parents})
    return tuple(sorted(files, key=lambda file: file.path))


def _walk(folder: Path, prefix: str, ignored: Counter[str], parents: set[Path]) -> Iterator[ImageFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122  # a Path per file doubles the time
            if entry.name.startswith("."):
                ignored[HIDDEN] += 1
            elif _is_folder(entry):
                inside = Path(entry.path)
                if not entry.is_symlink():
                    yield from _walk(inside, f"{prefix}{entry.name}/", ignored, parents | {inside.resolve()})
                elif (target := inside.resolve()) not in parents:
                    yield from _walk(inside, f"{prefix}{entry.name}/", ignored, parents | {target})
            elif suffix in EXTENSIONS:
                yield ImageFile(prefix + entry.name, _stamp(entry))
            else:
                ignored[suffix or "no extension"] += 1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in TRANSIENT_ERRORS:
            raise
        return False  # a link to itself, or to a forbidden folder


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int, int]:
    try:
        status = entry.stat()
    except OSError:
        return -1, -1, -1
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
