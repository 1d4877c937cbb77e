"""Files that are either complete or not there, and JSON that every reader understands."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from sslkit.errors import InputError

PART = ".part"
"""How the name of a file that is not yet complete ends."""


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, aside; at the end it is flushed to disk and takes the place of ``path``."""
    aside = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        # The system names no file when a write fails, and the one aside means nothing to anybody.
        if error.filename in (None, str(aside)):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # a disk that has become read-only refuses this too, and what it refused first counts
            aside.unlink(missing_ok=True)
    _flush_folder(path.parent)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file completely or not at all: aside, flushed to disk, then renamed over the old one."""
    with open_atomic(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def point(link: Path, target: str) -> None:
    """Make a symbolic link to a name beside it, or let the one that is there point elsewhere, in one renaming."""
    aside = link.with_name(f".{link.name}.{os.getpid()}{PART}")
    try:
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        aside.replace(link)
    except OSError as error:
        error.filename, error.filename2 = str(link), None
        raise


def _flush_folder(folder: Path) -> None:
    """Keep a renaming through a power cut, on file systems that can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_regular_file(path: Path) -> BufferedReader:
    """Open a file to read it; pipes and devices, which may never end, are refused instead of waited for.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 - the caller's
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def read_regular_file(path: Path) -> str:
    """The text of a file that ``open_regular_file`` opens.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is not UTF-8.
    """
    with open_regular_file(path) as file:
        return file.read().decode()


def remove_partial_files(folder: Path) -> None:
    """Remove what killed processes left incomplete in a folder that nobody else writes to now."""
    for part in folder.glob(f".*{PART}"):
        part.unlink(missing_ok=True)


def to_json(value: Any, *, ascii_only: bool = True) -> str:
    """Indented JSON of a tree; a float that is no finite number, which JSON does not have, is null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=ascii_only, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def require_new_file(out: Path, *beside: Path) -> None:
    """Refuse to write over anything.

    Args:
        out: the file that ``--out`` names.
        beside: others that are written in the same folder.

    Raises:
        InputError: one of them is there already, or their folder is not.
    """
    for path in (out, *beside):
        if path.exists():
            raise InputError(f"{path} is there already: remove it, or name another file with --out")
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {out.parent}: make it, or name another file with --out")
