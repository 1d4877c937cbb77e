"""Safety check of a checkpoint before torch reads it: the structure of its archive and the imports of its pickle.

``torch.load(weights_only=True)`` imports only names on a list of allowed names. Other packages may add names to this
list, and a small compressed archive can fill the memory. Checkpoints of tensors and plain values are not compressed and
import only a few names, so this check rejects everything else.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sslkit.files import open_regular_file

ALLOWED_NAMES = re.compile(r"torch\._utils _rebuild_tensor_v2|collections OrderedDict|torch [A-Z]\w+Storage")
"""Names, as ``module name``, that the pickle of a checkpoint may import to rebuild its content."""


def find_unsafe_content(path: Path) -> str:
    """Return why a file is unsafe to read as a checkpoint, or ``""`` if it is safe.

    Raises:
        OSError: the file cannot be opened.
    """
    with open_regular_file(path) as file:
        try:
            return _check_archive(file)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            # zipfile raises RuntimeError for an encrypted archive.
            return f"it is not a torch archive ({error})"


def _check_archive(file: BinaryIO) -> str:
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            return "it is compressed, unlike torch's checkpoints, and may fill the memory"
        if sum(entry.file_size for entry in entries) > size:
            return "its entries claim more bytes than the file has"
        for entry in entries:
            if entry.filename.startswith("/") or ".." in entry.filename.split("/"):
                return f"it has an entry outside the archive, {entry.filename!r}"
        pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
        if len(pickles) != 1 or not pickles[0].filename.endswith("/data.pkl"):
            return "it does not have exactly one pickle, data.pkl"
        for name in _imported_names(archive.read(pickles[0])):
            if not ALLOWED_NAMES.fullmatch(name):
                return f"it imports {name.replace(' ', '.')!a}, which no checkpoint needs; nothing was executed"
    return ""


def _imported_names(pickled: bytes) -> Iterator[str]:
    """Yield each name that a pickle imports, as ``module name``, without executing it."""
    for code, argument, _ in pickletools.genops(pickled):
        if code.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            yield f"a name by {code.name}"
