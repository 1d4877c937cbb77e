"""Malicious files, which create the file ``MARKER`` if their payload is executed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

MARKER = "executed"
"""Name of the file that the payload creates."""

PAYLOAD = f"open('{MARKER}', 'w')"
"""Python expression that creates the file ``MARKER``."""

EMPTY_PICKLE = b"\x80\x02}q\x00."
"""Pickle of an empty dictionary."""


class CallWhenUnpickled:
    """Object whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def torch_archive(pickled: bytes, *, compression: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    """Return an archive in torch's format, with a given pickle and additional entries."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", b"3\n")
        for name, content in entries.items():
            file.writestr(name, content)
    return data.getvalue()
