"""Paths of the files that ``predict`` and ``embed`` write, checked before torch is imported."""

from __future__ import annotations

from pathlib import Path

from sslkit.files import require_new_file


def job_folder(out: Path) -> Path:
    """Return the folder ``<out>.unfinished``, in which chunks are saved until the output file is written."""
    return out.with_name(f"{out.name}.unfinished")


def broken_file(out: Path) -> Path:
    """Return the path of the table of unreadable files, ``<out>.broken.csv``."""
    return out.with_name(f"{out.name}.broken.csv")


def require_new_outputs(out: Path) -> None:
    """Raise an error if an output file of ``predict`` or ``embed`` already exists.

    Raises:
        InputError: one of the files exists, or the folder does not exist.
    """
    # If there are saved chunks, the table of unreadable files is from an earlier call that was killed.
    others = [] if job_folder(out).exists() else [broken_file(out)]
    require_new_file(out, *others, remedy="overwrite it with --force")
