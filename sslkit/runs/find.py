"""Where runs are kept, and which of them a user means."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sslkit.errors import RunError
from sslkit.runs.run import LATEST, VARIABLE, Run


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


def find_one_run(spec: str, root: Path) -> Run:
    """The one run that a user means: where ``name`` leaves a choice, none is taken.

    Raises:
        RunError: there is no such run, or there are several.
    """
    several = [run for run in all_runs(root) if spec == run.path.parent.name]
    if len(several) > 1 and not (Path(spec) / "status.json").is_file():
        raise RunError(f"there are {len(several)} runs called {spec!r} in {root}: name one, such as {several[-1].name}")
    return find_run(spec, root)


def remove_run(run: Run, runs: Path) -> None:
    """Remove a run's folder; where it was the latest, the newest of those left becomes it.

    Args:
        run: the run; one whose status cannot be read is removed too, but only from the folder of all runs.
        runs: the folder of all runs.

    Raises:
        RunError: it is being trained, or may be something else than a run.
        OSError: the folder cannot be removed.
    """
    root = run.path.parent.parent
    if not run.readable and root.resolve() != runs.resolve():
        raise RunError(f"{run.path} is not removed: its status.json is no run's, and it is not in {runs}")
    latest = root / LATEST
    was_latest = latest.is_symlink() and latest.resolve() == run.path.resolve()
    with run.held():
        shutil.rmtree(run.path)
    with suppress(OSError):  # others of that name are still there
        run.path.parent.rmdir()
    if was_latest:
        latest.unlink()
        left = list(all_runs(root))
        if left:
            left[-1].mark_latest()
