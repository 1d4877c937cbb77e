"""Write files atomically, open untrusted files safely, and format JSON."""

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

PARTIAL_SUFFIX = ".part"
"""Suffix of the temporary file that ``open_atomic`` writes."""


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing. At the end of the block, flush the file to disk and rename it to ``path``."""
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # Put the final path into the error, because the temporary path means nothing to the user.
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # on a read-only disk this also fails, and must not hide the first error
            temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write ``data`` to ``path`` completely or not at all. An existing file is replaced only at the end."""
    with open_atomic(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def replace_symlink(link: Path, target: str) -> None:
    """Create or replace a symbolic link atomically.

    Args:
        link: path of the link.
        target: path of the target, relative to the link's folder.
    """
    temporary = _temporary(link)
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)
    except OSError as error:
        error.filename, error.filename2 = str(link), None
        raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")


def _flush_folder(folder: Path) -> None:
    """Flush a folder to disk so that a rename survives a power failure, if the file system supports this."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def find_inside(folder: Path, file: str) -> Path | None:
    """Return the path of ``file`` with symbolic links resolved, or None if it is missing or not in ``folder``."""
    try:
        path = (folder / file).resolve(strict=True)
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, RuntimeError, ValueError):
        return None


def open_regular_file(path: Path) -> BufferedReader:
    """Open a file for reading, unless it is a pipe or a device, which could block forever.

    Raises:
        OSError: the file cannot be opened or is not a regular file.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 - the caller's
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return file


def read_regular_file(path: Path) -> str:
    """Return the text of a regular file.

    Raises:
        OSError: the file cannot be read or is not a regular file.
        ValueError: the text is not UTF-8.
    """
    with open_regular_file(path) as file:
        return file.read().decode()


def remove_partial_files(folder: Path) -> None:
    """Delete the temporary files that killed processes left. The caller must hold the folder's lock."""
    for partial in folder.glob(f".*{PARTIAL_SUFFIX}"):
        partial.unlink(missing_ok=True)


def to_json(value: Any, *, ascii_only: bool = True) -> str:
    """Format a value as indented JSON. NaN and infinity become null, because JSON has no such numbers.

    With ``ascii_only``, all non-ASCII characters become escapes such as ``\\u00e9``.
    """
    return json.dumps(_finite(value), indent=1, ensure_ascii=ascii_only, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def require_new_file(out: Path, *others: Path, remedy: str = "delete it") -> None:
    """Raise an error if an output file already exists.

    Args:
        out: path from ``--out``.
        others: paths of other files to write to the same folder.
        remedy: what to do with an existing file, for the error message.

    Raises:
        InputError: one of the files exists, or the folder does not exist.
    """
    for path in (out, *others):
        if path.exists():
            raise InputError(f"{path} exists already: {remedy}, or choose another file with --out")
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} does not exist: create it, or choose another file with --out")
