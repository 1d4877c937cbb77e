"""Files whose payload would create the file ``MARKER`` if anything in them were executed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

MARKER = "executed"
"""Name of the file that a payload creates."""

PAYLOAD = f"open('{MARKER}', 'w')"
"""A Python expression that creates it."""

EMPTY_PICKLE = b"\x80\x02}q\x00."
"""An empty dictionary."""


class CallWhenUnpickled:
    """An object that is pickled as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def torch_archive(pickled: bytes, *, compression: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    """Return an archive as torch writes it, with a given pickle and further entries."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", b"3\n")
        for name, content in entries.items():
            file.writestr(name, content)
    return data.getvalue()
