"""Rules for the names of runs."""

from __future__ import annotations

import re

LATEST = "latest"
"""Name of the symbolic link to the newest run."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

NAME_RULE = (
    f"at most 64 letters, digits, '.', '_' and '-', starting with a letter or digit; {LATEST!r} is reserved for the "
    "link to the newest run"
)
"""Description of valid names, for messages."""


def is_run_name(name: str) -> bool:
    """Return whether ``name`` is a valid name for a run."""
    return bool(_NAME.fullmatch(name)) and name != LATEST
