"""Find, list and remove runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sslkit.errors import RunError
from sslkit.recipe.run_name import LATEST
from sslkit.runs.run import RUNS_VARIABLE, Run


def runs_folder(folder: Path | None = None) -> Path:
    """Return the folder of all runs: the argument, else ``$SSLKIT_RUNS``, else ``./runs``."""
    return folder or Path(os.environ.get(RUNS_VARIABLE) or "runs")


def all_runs(root: Path) -> Iterator[Run]:
    """Yield every run in a folder of runs, oldest first."""
    folders = [path.parent for path in root.glob("*/*/status.json") if path.parent.parent.name != LATEST]
    yield from (Run(path) for path in sorted(folders, key=_creation_order))


def _creation_order(folder: Path) -> tuple[str, int, str]:
    """Return a key that sorts run folders by creation time, even if they were created in the same second."""
    recipe = folder / "recipe.toml"
    second = folder.name.rpartition("-")[0]
    return second, recipe.stat().st_mtime_ns if recipe.is_file() else 0, folder.name


def find_run(spec: str | None, root: Path) -> Run:
    """Return the run that ``spec`` names.

    Args:
        spec: a folder, ``NAME/ID``, ``NAME``, ``ID`` or ``latest``; None means the latest run. ``NAME`` means the
            newest run with this name.
        root: the folder of all runs.

    Raises:
        RunError: no run matches.
    """
    if _means_any(spec) and (root / LATEST / "status.json").is_file():
        return Run((root / LATEST).resolve())
    return _matching_runs(spec, root)[-1]


def find_finished_run(spec: str | None, root: Path) -> tuple[Run, str]:
    """Return the finished run that ``spec`` names.

    Args:
        spec: as for ``find_run``. If ``spec`` matches more than one run, the newest finished run is returned; if it
            matches only one run, this run is returned even if it has not finished.
        root: the folder of all runs.

    Returns:
        The run, and a sentence about a newer run that is skipped because it has not finished, or ``""``.

    Raises:
        RunError: no run matches, or more than one run matches and none of them is finished.
    """
    runs = _matching_runs(spec, root)
    newest = find_run(spec, root)
    if newest.has_valid_status and newest.status.state == "finished":
        return newest, ""
    if len(runs) == 1 and not _means_any(spec):
        return newest, ""
    finished = [run for run in runs if run.has_valid_status and run.status.state == "finished"]
    if not finished:
        raise RunError(f"there is no finished run in {root}: {newest.describe_state()}")
    return finished[-1], f"{finished[-1].name} is used, the newest finished run: {newest.describe_state(advice=False)}"


def find_unfinished_run(spec: str | None, root: Path) -> Run:
    """Return the run to resume.

    Args:
        spec: as for ``find_run``. If ``spec`` matches more than one run, the newest run that can be resumed is
            returned; if it matches only one run, this run is returned in any state.
        root: the folder of all runs.

    Raises:
        RunError: no run matches, or more than one run matches and none of them can be resumed.
    """
    runs = _matching_runs(spec, root)
    if len(runs) == 1 and not _means_any(spec):
        return runs[0]
    valid = [run for run in runs if run.has_valid_status]
    stopped = [run for run in valid if run.status.state in ("interrupted", "failed")]
    if stopped:
        return stopped[-1]
    running = [f"; {run.describe_state(advice=False)}" for run in valid if run.status.state == "running"]
    raise RunError(f"there is nothing to resume in {root}: no run was stopped before its end{''.join(running)}")


def _means_any(spec: str | None) -> bool:
    return not spec or spec == LATEST


def _matching_runs(spec: str | None, root: Path) -> list[Run]:
    """Return all runs that ``spec`` matches, oldest first.

    Raises:
        RunError: no run matches.
    """
    if spec and (Path(spec) / "status.json").is_file():
        return [Run(Path(spec).resolve())]
    runs = list(all_runs(root))
    if _means_any(spec):
        if not runs:
            raise RunError(f"there are no runs in {root}: train one with `sslkit train RECIPE`, or set --runs")
        return runs
    matches = [run for run in runs if spec in (run.name, run.path.parent.name, run.path.name)]
    if not matches:
        folder = f" ({spec} is a folder without status.json)" if spec and Path(spec).is_dir() else ""
        raise RunError(f"there is no run {spec!r} in {root}{folder}: list the runs with `sslkit runs list`")
    return matches


def find_one_run(spec: str, root: Path) -> Run:
    """Return the only run that matches ``spec``.

    Raises:
        RunError: no run matches, or more than one run matches.
    """
    matches = [run for run in all_runs(root) if spec == run.path.parent.name]
    if len(matches) > 1 and not (Path(spec) / "status.json").is_file():
        raise RunError(f"{root} has {len(matches)} runs named {spec!r}: name one of them, such as {matches[-1].name}")
    return find_run(spec, root)


def remove_run(run: Run, runs: Path) -> None:
    """Delete a run's folder. If the run was the latest, mark the newest remaining run as the latest.

    Args:
        run: the run. A run without a valid status is deleted only if its folder is in ``runs``.
        runs: the folder of all runs.

    Raises:
        RunError: a process is training the run, or the folder might not be a run.
        OSError: the folder cannot be deleted.
    """
    root = run.path.parent.parent
    if not run.has_valid_status and root.resolve() != runs.resolve():
        raise RunError(f"{run.path} is not removed: it has no valid status.json and is not in {runs}")
    latest = root / LATEST
    was_latest = latest.is_symlink() and latest.resolve() == run.path.resolve()
    with run.locked():
        shutil.rmtree(run.path)
    with suppress(OSError):  # there are other runs with this name
        run.path.parent.rmdir()
    if was_latest:
        latest.unlink()
        remaining = list(all_runs(root))
        if remaining:
            remaining[-1].mark_latest()
