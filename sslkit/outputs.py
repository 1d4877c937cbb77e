"""Files that a command is asked to write, looked at before anything is computed."""

from __future__ import annotations

from pathlib import Path

from sslkit.errors import InputError


def require_free(out: Path, *beside: Path) -> None:
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
