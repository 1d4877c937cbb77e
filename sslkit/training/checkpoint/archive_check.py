"""A look at a checkpoint before torch reads it: whether its archive can be what it says, and what its pickle names.

``torch.load(weights_only=True)`` executes only what stands on its list, but other packages may add to that list, and a
compressed archive can fill the memory from a small file.  What ``torch.save`` writes of tensors and plain values is
never compressed and names few things, so anything else is refused.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sslkit.files import open_regular_file

NAMED = re.compile(r"torch\._utils _rebuild_tensor_v2|collections OrderedDict|torch [A-Z]\w+Storage")
"""All that a checkpoint may name: how tensors are put together, and what holds their bytes."""


def find_unsafe_content(path: Path) -> str:
    """Why a file is not to be read as a checkpoint; empty where it may be.

    Raises:
        OSError: it cannot be opened.
    """
    with open_regular_file(path) as file:
        try:
            return _of_archive(file)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            # RuntimeError: it wants a password.
            return f"it is no archive of torch's ({error})"


def _of_archive(file: BinaryIO) -> str:
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            return "it is compressed, which torch's checkpoints are not: it may fill the memory"
        if sum(entry.file_size for entry in entries) > size:
            return "it claims to hold more than the file is long"
        for entry in entries:
            if entry.filename.startswith("/") or ".." in entry.filename.split("/"):
                return f"it holds a file outside of itself, {entry.filename!r}"
        pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
        if len(pickles) != 1 or not pickles[0].filename.endswith("/data.pkl"):
            return "it holds other pickles than the one of a checkpoint"
        for name in _names(archive.read(pickles[0])):
            if not NAMED.fullmatch(name):
                return f"it names {name.replace(' ', '.')!a}, which no checkpoint needs; nothing of it was executed"
    return ""


def _names(pickled: bytes) -> Iterator[str]:
    """Every module and attribute that a pickle names, without executing it."""
    for code, argument, _ in pickletools.genops(pickled):
        if code.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            yield f"something by {code.name}"
