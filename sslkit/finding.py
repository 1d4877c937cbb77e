"""Where runs are kept, and which of them a user means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sslkit.errors import RunError
from sslkit.runs import LATEST, VARIABLE, Run


def runs_folder(given: Path | None = None) -> Path:
    """The folder that holds all runs."""
    return given or Path(os.environ.get(VARIABLE) or "runs")


def all_runs(root: Path) -> Iterator[Run]:
    """Every run below a folder, oldest first."""
    found = [path.parent for path in root.glob("*/*/status.json") if path.parent.parent.name != LATEST]
    yield from (Run(path) for path in sorted(found, key=lambda path: path.name))


def find_run(spec: str | None, root: Path, *, unfinished: bool = False) -> Run:
    """The run a user means: a folder, ``name/id``, ``name`` or ``id``; the latest where nothing is given.

    Args:
        spec: what the user wrote.
        root: the folder of all runs.
        unfinished: choose only among runs that can be resumed where ``spec`` leaves a choice.

    Raises:
        RunError: there is no such run.
    """
    if spec and (Path(spec) / "status.json").is_file():
        return Run(Path(spec).resolve())
    if spec == LATEST or (not spec and not unfinished):
        spec = None
        if (root / LATEST / "status.json").is_file():
            return Run((root / LATEST).resolve())
    runs = [run for run in all_runs(root) if not spec or spec in (run.name, run.path.parent.name, run.path.name)]
    if not runs and spec:
        raise RunError(f"there is no run {spec!r} in {root}: `sslkit runs list` shows what there is")
    if not runs:
        raise RunError(f"there are no runs in {root}: `sslkit train RECIPE` makes one, --runs names another folder")
    if unfinished and len(runs) > 1:
        runs = [run for run in runs if run.readable and run.status.state in ("interrupted", "failed")]
        if not runs:
            raise RunError(f"every run in {root} is finished or still running: there is nothing to resume")
    return runs[-1]
