"""Content of an image folder: a hash that identifies its cache entries, and groups of identical files.

The hash covers the bytes of each image and its path below the root. A folder keeps its hash when the folder is copied
or moved, or when only time stamps change. A changed, added or renamed file changes the hash.

Hashing reads every byte. The hash is cached, and is reused as long as location, paths, sizes and time stamps stay the
same. The time stamps include the status-change time, which copy tools cannot restore.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sslkit.data.cache import write_file
from sslkit.data.datasets.folder.duplicate_groups import DuplicateGroups, group_by_digest
from sslkit.data.datasets.folder.scan import FolderScan, ImageFile, scan_folder
from sslkit.data.image_files import TRANSIENT_ERRORS, unreachable_error
from sslkit.data.threads import map_in_threads
from sslkit.errors import DataError
from sslkit.files import open_regular_file

RECORD_FORMAT = 1
"""Version of the cached records. The version increases when the content of records changes."""


@dataclass(frozen=True)
class FolderContent:
    """Content of an image folder.

    Attributes:
        hash: hash of all paths and bytes.
        duplicates: paths of files with identical bytes, one group for each set of identical files.
    """

    hash: str
    duplicates: DuplicateGroups


def read_content(scan: FolderScan, records: Path) -> FolderContent:
    """Return the hash and the duplicates of an image folder, and cache both in the folder ``records``.

    Raises:
        DataError: files were added, removed or changed during the call, or a file cannot be read because of a problem
            with the disk, network or machine.
    """
    files = scan.all_files
    stamps = [[file.path, *file.stamp] for file in files]
    record = records / json_hash([RECORD_FORMAT, str(scan.root.resolve()), stamps])
    with suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads(record.read_text(encoding="utf-8"))
        return FolderContent(stored["hash"], tuple(map(tuple, stored["duplicates"])))
    paths = [file.path for file in files]
    digests = list(map_in_threads(lambda path: file_hash(scan.root / path), paths))
    filled = [index for index, file in enumerate(files) if file.stamp[0] > 0]
    duplicates = group_by_digest([paths[index] for index in filled], [digests[index] for index in filled])
    content = FolderContent(json_hash(list(zip(paths, digests, strict=True))), duplicates)
    check_unchanged(scan)
    with suppress(DataError):  # without the record, the next call reads all files again
        write_file(record, json.dumps(asdict(content)))
    return content


def check_unchanged(scan: FolderScan) -> None:
    """Raise ``DataError`` if files were added, removed or changed since the scan."""
    if _sorted_files(scan_folder(scan.root)) != _sorted_files(scan):
        raise DataError(f"the files of {scan.root} changed while they were read. Try again when all files are there.")


def _sorted_files(scan: FolderScan) -> list[ImageFile]:
    return sorted(scan.all_files, key=lambda file: file.path)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or ``unreadable:`` and the error number if access is denied.

    Raises:
        DataError: the file cannot be read because of a problem with the disk, network or machine.
    """
    try:
        with open_regular_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if error.errno in TRANSIENT_ERRORS:
            raise unreachable_error(path, error) from error
        # Decoding will report the file as broken, with the reason.
        return f"unreadable: {error.errno}"


def json_hash(value: object) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of a value, which must be representable as JSON."""
    # JSON escapes file names that are not valid text.
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
