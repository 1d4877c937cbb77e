"""Naming what a folder of images decodes to, by content.

The name is a hash over what is decoded for (the ``purpose``), and over every image's path below the root and its
bytes: a copied, moved or touched folder has the same name; a changed, added or renamed file makes another.  Hashing
reads every byte, so a small note from the folder's place, paths, sizes and time stamps to the name spares it while
none of these change.  The stamps include the time of the last change to the file's record, which copying tools that
restore time stamps cannot restore.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from sslkit.data.cache import write_file
from sslkit.data.datasets.folder.scan import Tree, scan
from sslkit.data.datasets.folder.threads import in_order
from sslkit.data.images import PASSING, unreachable
from sslkit.errors import DataError
from sslkit.files import open_regular_file


def content_name(tree: Tree, purpose: str, notes: Path) -> str:
    """The name for a folder's content and ``purpose``; remembered in the folder ``notes``.

    Raises:
        DataError: a file cannot be read now, or files came, went or changed meanwhile.
    """
    note = notes / _hash([purpose, str(tree.root.resolve()), _stamps(tree)])
    with suppress(OSError):
        return note.read_text(encoding="utf-8")
    paths = [file.path for file in tree.all_files]
    digests = in_order(lambda path: digest(tree.root / path), paths)
    name = _hash([purpose, list(zip(paths, digests, strict=True))])
    check_unchanged(tree)
    with suppress(DataError):  # a cache that is shared, or full, may yet hold the entry
        write_file(note, name)
    return name


def check_unchanged(tree: Tree) -> None:
    """Raise ``DataError`` if files came, went or changed since the folder was scanned."""
    if scan(tree.root).all_files != tree.all_files:
        raise DataError(f"the files of {tree.root} changed while they were read. Try again when they are all there.")


def _stamps(tree: Tree) -> object:
    return [[file.path, *file.stamp] for file in tree.all_files]


def _hash(what: object) -> str:
    # JSON, because it escapes what file names may hold beside valid text.
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes; where it may not be read, ``unreadable:`` and why.

    Raises:
        DataError: it cannot be read now, because of its disk, the network or this machine.
    """
    try:
        with open_regular_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if error.errno in PASSING:
            raise unreachable(path, error) from error
        # Decoding will say that it is broken, and why.
        return f"unreadable: {error.errno}"
