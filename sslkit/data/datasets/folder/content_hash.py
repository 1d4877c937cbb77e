"""Content hash of an image folder, which names its cache entry.

The hash covers the purpose that the images are decoded for, and each image's path below the root and bytes. A copied,
moved or touched folder keeps its hash. A changed, added or renamed file gives another one.

Hashing reads every byte. A cached record spares it while location, paths, sizes and time stamps stay the same. The
stamps include the status-change time, which copy tools cannot restore.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from sslkit.data.cache import write_file
from sslkit.data.datasets.folder.scan import FolderScan, scan_folder
from sslkit.data.image_files import TRANSIENT_ERRORS, unreachable_error
from sslkit.data.threads import map_in_threads
from sslkit.errors import DataError
from sslkit.files import open_regular_file


def content_hash(scan: FolderScan, purpose: str, records: Path) -> str:
    """Return the hash of a folder's content and ``purpose``; it is cached in the folder ``records``.

    Raises:
        DataError: a file cannot be read now, or files were added, removed or changed meanwhile.
    """
    record = records / _hash([purpose, str(scan.root.resolve()), _stamps(scan)])
    with suppress(OSError):
        return record.read_text(encoding="utf-8")
    paths = [file.path for file in scan.all_files]
    digests = map_in_threads(lambda path: file_hash(scan.root / path), paths)
    content = _hash([purpose, list(zip(paths, digests, strict=True))])
    check_unchanged(scan)
    with suppress(DataError):  # a cache that cannot be written may still contain the entry
        write_file(record, content)
    return content


def check_unchanged(scan: FolderScan) -> None:
    """Raise ``DataError`` if files were added, removed or changed since the scan."""
    if scan_folder(scan.root).all_files != scan.all_files:
        raise DataError(f"the files of {scan.root} changed while they were read. Try again when all files are there.")


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; ``unreadable:`` and the error number if the file may not be read.

    Raises:
        DataError: the file cannot be read now, because of its disk, the network or this machine.
    """
    try:
        with open_regular_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if error.errno in TRANSIENT_ERRORS:
            raise unreachable_error(path, error) from error
        # Decoding reports the file as broken, with the reason.
        return f"unreadable: {error.errno}"


def _stamps(scan: FolderScan) -> object:
    return [[file.path, *file.stamp] for file in scan.all_files]


def _hash(value: object) -> str:
    # JSON escapes file names that are not valid text.
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
