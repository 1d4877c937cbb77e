"""The run folder: creation, status and lock."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sslkit.errors import RunError
from sslkit.runs.find import find_run
from sslkit.runs.json_records import RUN_FORMAT
from sslkit.runs.run import Run

CREATE = "from pathlib import Path; from sslkit.runs.run import Run; run = Run.create(Path({root!r}), 'same');"


def test_runs_created_at_the_same_time_have_different_folders(tmp_path: Path) -> None:
    script = CREATE.format(root=str(tmp_path / "runs")) + "print(run.path)"
    processes = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(6)]
    paths = {process.communicate()[0].strip() for process in processes}
    assert all(process.returncode == 0 for process in processes)
    assert len(paths) == 6
    assert str((tmp_path / "runs" / "latest").resolve()) in paths


def test_creation_fails_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be created in .*file: Not a directory; .* --runs or SSLKIT_RUNS"):
        Run.create(tmp_path / "file", "a")


@pytest.mark.parametrize("name", ["latest", "", ".", "a/b", "x" * 65])
def test_invalid_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match=r"is not a valid run name: set run.name to"):
        Run.create(tmp_path, name)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def running(tmp_path: Path) -> Run:
    """A run in state ``running``, whose lock is checked whenever its status is read."""
    run = Run.create(tmp_path, "a")
    run.write_status("running", 1, 10, 0, 2)
    return run


def test_run_of_a_dead_process_is_interrupted(tmp_path: Path) -> None:
    script = CREATE.format(root=str(tmp_path)) + "run.write_status('running', 1, 10, 0, 2)"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert find_run(None, tmp_path).status.state == "interrupted"


def test_incomplete_status_is_refused(running: Run) -> None:
    (running.path / "status.json").write_text('{"state": "runn')
    with pytest.raises(RunError, match=r"is not a run folder: its status.json cannot be read"):
        _ = running.status


@pytest.mark.parametrize("version", [1, RUN_FORMAT + 1])
def test_status_of_another_run_format_is_refused(running: Run, version: int) -> None:
    path = running.path / "status.json"
    record = json.loads(path.read_text())
    assert record.pop("format") == RUN_FORMAT
    path.write_text(json.dumps(record if version == 1 else {"format": version}))
    message = (
        rf"{running.path} has run format {version}, .* reads format {RUN_FORMAT}: train again, or use the sslkit ver"
    )
    with pytest.raises(RunError, match=message):
        _ = running.status
    assert not running.has_valid_status


def test_reading_the_status_never_prevents_locking(running: Run) -> None:
    states: list[str] = []
    done = threading.Event()

    def read_status() -> None:
        while not done.is_set():
            states.append(running.status.state)

    readers = [threading.Thread(target=read_status) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(100):
        with running.locked():
            assert running.status.state == "running"
    done.set()
    for reader in readers:
        reader.join()
    assert set(states) <= {"running", "interrupted"}
    assert len(states) > 10


def test_locking_waits_for_status_readers_but_not_for_a_training(running: Run) -> None:
    with (running.path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert running.status.state == "interrupted"
        threading.Timer(0.2, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with running.locked(), pytest.raises(RunError, match=f"another process is training {running.name}"):
            running.locked().__enter__()


def test_reading_the_status_changes_no_file(running: Run) -> None:
    (running.path / ".metrics.csv.1.part").write_text("x")
    before = sorted(running.path.rglob("*"))
    assert running.status.state == "interrupted"
    assert sorted(running.path.rglob("*")) == before


def test_file_system_without_locks_is_refused(running: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with running.locked():
        pass

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    assert running.status.state == "running"
    message = (
        rf"{running.path} is on a file system that cannot lock files \(No locks available\).*--runs or SSLKIT_RUNS"
    )
    with pytest.raises(RunError, match=message), running.locked():
        pass


def test_read_only_run_folder_is_refused(running: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, *args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "open", fail)
    message = rf"{running.path} is not writable: Read-only file system; it can be evaluated, but not trained"
    with pytest.raises(RunError, match=message), running.locked():
        pass


def test_locking_removes_partial_files_of_killed_processes(running: Run) -> None:
    complete = running.checkpoints / "last.ckpt"
    for path in (complete, running.path / ".metrics.csv.1.part", running.checkpoints / ".last.ckpt.1.part"):
        path.write_text("x")
    with running.locked():
        names = [path.name for path in running.path.rglob("*") if path.name.endswith((".part", ".ckpt"))]
        assert names == ["last.ckpt"]
