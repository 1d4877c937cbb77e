"""Find the image files of each split of a folder, without opening any file.

A folder with a sub-folder ``train`` has splits; the module ``split_folders`` describes their names. All other
sub-folders and files of such a folder are not read. In any other folder, all images belong to the split ``train``.

Files with an image extension, such as ``.png``, are images. Hidden files and folders (leading dot) are ignored. Links
to files are read like files. Links to folders are followed, except links to a parent folder. Each folder is read once
per split: through its own path if this path is inside the split, else through the first link to the folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sslkit.data.datasets.folder.split_folders import find_split_folders
from sslkit.data.image_files import EXTENSIONS, TRANSIENT_ERRORS
from sslkit.data.unreadable_images import UNREADABLE_EXTENSIONS
from sslkit.errors import DataError
from sslkit.recipe.document import BACKSLASH_HINT

HIDDEN = "hidden"
"""Key for hidden files and folders in ``FolderScan.ignored``."""

REPEATED = "links to folders that are read already"
"""Key for repeated links in ``FolderScan.ignored``."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file with an image extension, such as ``.png``.

    Attributes:
        path: path relative to the root, with forward slashes.
        stamp: size in bytes, modification time and status-change time in ns; all -1 for a dangling link.
    """

    path: str
    stamp: tuple[int, int, int]


@dataclass(frozen=True)
class FolderScan:
    """Image files of a folder, grouped by split.

    Attributes:
        root: the folder.
        split_folders: sub-folder of each split; ``""`` for ``train`` if there are no split folders.
        files: image files of each split, sorted by path.
        ignored: number of ignored files, keyed by extension, ``HIDDEN`` or ``REPEATED``.
        unread_folders: unread sub-folders next to the split folders.
        unread_images: number of unread images next to the split folders.
    """

    root: Path
    split_folders: Mapping[str, str]
    files: Mapping[str, tuple[ImageFile, ...]]
    ignored: Mapping[str, int]
    unread_folders: tuple[str, ...]
    unread_images: int = 0

    @property
    def all_files(self) -> tuple[ImageFile, ...]:
        """Image files of all splits, concatenated."""
        return tuple(file for files in self.files.values() for file in files)

    def parts_in_split(self, split: str) -> list[list[str]]:
        """Return the path of each image relative to the folder of its split, as a list of folders and the file name."""
        folder = self.split_folders[split]
        start = len(folder) + 1 if folder else 0
        return [file.path[start:].split("/") for file in self.files[split]]


def printable(name: str) -> str:
    """Escape control characters, such as line breaks, in a file name."""
    return name if name.isprintable() else ascii(name)


def find_images(path: Path) -> tuple[Path, tuple[ImageFile, ...]]:
    """Return a folder and all images below it, in all splits. For a single file, return its folder and the file.

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
    """Find the images of each split below ``root``.

    Raises:
        DataError: the folder does not exist or cannot be listed, has splits but no ``train``, or a split has no images.
    """
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        hint = "" if str(root).isprintable() else f"; {BACKSLASH_HINT}"
        name = printable(str(root))
        raise DataError(
            f"the image folder {name} {problem} (relative paths start at the working directory, {Path.cwd()}){hint}"
        )
    try:
        return _scan(root)
    except OSError as error:
        raise _cannot_list(root, error) from error


def _scan(root: Path) -> FolderScan:
    ignored: Counter[str] = Counter()
    with os.scandir(root) as listing:
        entries = sorted((entry.name, _is_folder(entry)) for entry in listing if not entry.name.startswith("."))
    visible = [name for name, is_folder in entries if is_folder]
    folders = find_split_folders(root, visible)
    unread: tuple[str, ...] = ()
    unread_images = 0
    if folders:
        unread = tuple(name for name in visible if name not in folders.values())
        unread_images = sum(not is_folder and _extension(name) in EXTENSIONS for name, is_folder in entries)
    folders = folders or {"train": ""}
    files = {split: _images(root, folder, ignored) for split, folder in folders.items()}
    for split, of_split in files.items():
        if not of_split:
            raise _no_images(root / folders[split], ignored)
    return FolderScan(root, folders, files, dict(sorted(ignored.items())), unread, unread_images)


def _cannot_list(folder: Path, error: OSError) -> DataError:
    return DataError(f"the image folder {folder} cannot be read: {error}. Check the permissions.")


def _no_images(folder: Path, ignored: Mapping[str, int]) -> DataError:
    found = describe_ignored(ignored) or "no files at all"
    return DataError(f"no images in {folder} (found: {found}). Image files end with {', '.join(sorted(EXTENSIONS))}.")


def describe_ignored(ignored: Mapping[str, int]) -> str:
    """Return text with the number of ignored files of each kind, or ``""`` if no file is ignored."""
    counts = []
    for kind, count in sorted(ignored.items()):
        name = UNREADABLE_EXTENSIONS.get(kind)
        counts.append(f"{count} {printable(kind)}" + (f" ({name}, convert to PNG or JPEG)" if name else ""))
    return ", ".join(counts)


def _images(root: Path, folder: str, ignored: Counter[str]) -> tuple[ImageFile, ...]:
    start = root / folder
    real = start.resolve()
    walk = _Walk(ignored, {real, *real.parents})
    walk.read(start, real, f"{folder}/" if folder else "")
    while walk.links:
        links, walk.links = sorted(walk.links), []
        for prefix, target in links:
            if target in walk.seen:
                ignored[REPEATED] += 1
            else:
                walk.seen.add(target)
                walk.read(target, target, prefix)
    return tuple(sorted(walk.files, key=lambda file: file.path))


class _Walk:
    """Recursive search for images. Links to folders are collected in ``links`` and read after all real folders."""

    def __init__(self, ignored: Counter[str], seen: set[Path]) -> None:
        self.ignored = ignored
        self.seen = seen
        self.files: list[ImageFile] = []
        self.links: list[tuple[str, Path]] = []

    def read(self, folder: Path, real: Path, prefix: str) -> None:
        """Collect the images of a folder and its sub-folders in ``files``.

        ``real`` is the path of the folder without symbolic links. ``prefix`` is its path relative to the root, with a
        final slash, or ``""`` for the root.
        """
        with os.scandir(folder) as entries:
            for entry in entries:
                suffix = _extension(entry.name)
                if entry.name.startswith("."):
                    self.ignored[HIDDEN] += 1
                elif _is_folder(entry):
                    inside = real / entry.name
                    if entry.is_symlink():
                        self.links.append((f"{prefix}{entry.name}/", inside.resolve()))
                    elif inside not in self.seen:
                        self.seen.add(inside)
                        self.read(Path(entry.path), inside, f"{prefix}{entry.name}/")
                    else:
                        self.ignored[REPEATED] += 1
                elif suffix in EXTENSIONS:
                    self.files.append(ImageFile(prefix + entry.name, _stamp(entry)))
                else:
                    self.ignored[suffix or "no extension"] += 1


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # a Path per file doubles the time


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
