from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest

from sslkit.errors import RunError
from sslkit.files import write_atomic
from sslkit.runs.find import all_runs, find_run
from sslkit.runs.run import Run

MAKE = "from pathlib import Path; from sslkit.runs.run import Run; print(Run.create(Path({root!r}), 'same').path)"


def test_runs_started_together_never_share_a_folder(tmp_path: Path) -> None:
    script = MAKE.format(root=str(tmp_path / "runs"))
    together = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(6)]
    paths = {process.communicate()[0].strip() for process in together}
    assert all(process.returncode == 0 for process in together)
    assert len(paths) == 6
    assert str((tmp_path / "runs" / "latest").resolve()) in paths


def test_a_run_is_found_by_folder_name_id_or_as_the_latest(tmp_path: Path) -> None:
    first, second = Run.create(tmp_path, "a"), Run.create(tmp_path, "b")
    first.write_status("interrupted", 3, 10, 0, 2)
    second.write_status("finished", 10, 10, 2, 2)
    assert find_run(None, tmp_path).path == find_run("latest", tmp_path).path == second.path
    first.mark_latest()
    assert find_run(None, tmp_path).path == find_run("latest", tmp_path).path == first.path
    for spec in ("a", first.name, first.path.name, str(first.path)):
        assert find_run(spec, tmp_path).path == first.path
    assert find_run(None, tmp_path, unfinished=True).path == first.path
    assert [run.path for run in all_runs(tmp_path)] == sorted([first.path, second.path], key=lambda path: path.name)


def test_failed_runs_can_be_resumed_and_finished_ones_cannot(tmp_path: Path) -> None:
    first, second = Run.create(tmp_path, "a"), Run.create(tmp_path, "b")
    first.write_status("finished", 10, 10, 2, 2)
    second.write_status("failed", 6, 10, 1, 2)
    assert find_run(None, tmp_path, unfinished=True).path == second.path
    second.write_status("finished", 10, 10, 2, 2)
    with pytest.raises(RunError, match="is finished or still running: there is nothing to resume"):
        find_run(None, tmp_path, unfinished=True)


def test_a_run_whose_process_is_gone_counts_as_interrupted(tmp_path: Path) -> None:
    script = (
        f"from pathlib import Path; from sslkit.runs.run import Run; run = Run.create(Path({str(tmp_path)!r}), 'x');"
        "run.write_status('running', 1, 10, 0, 2)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert find_run(None, tmp_path).status.state == "interrupted"


@pytest.fixture
def looked_at(tmp_path: Path) -> Run:
    """A run whose status makes everybody look whether it is held."""
    run = Run.create(tmp_path, "a")
    run.write_status("running", 1, 10, 0, 2)
    return run


def test_who_only_looks_never_refuses_a_hold(looked_at: Run) -> None:
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(looked_at.status.state)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(100):
        with looked_at.held():
            assert looked_at.status.state == "running"
    done.set()
    for reader in readers:
        reader.join()
    assert set(seen) <= {"running", "interrupted"}
    assert len(seen) > 10


def test_a_hold_waits_for_who_looks_and_no_longer(looked_at: Run) -> None:
    with (looked_at.path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert looked_at.status.state == "interrupted"
        threading.Timer(0.2, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with looked_at.held(), pytest.raises(RunError, match="is being trained right now, by another process"):
            looked_at.held().__enter__()


def test_looking_changes_nothing(looked_at: Run) -> None:
    part = looked_at.path / ".metrics.csv.1.part"
    part.write_text("x")
    before = sorted(looked_at.path.rglob("*"))
    assert looked_at.status.state == "interrupted"
    assert sorted(looked_at.path.rglob("*")) == before


def test_a_file_system_without_locks_is_said(looked_at: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with looked_at.held():
        pass

    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fails)
    assert looked_at.status.state == "running"
    with pytest.raises(RunError) as error, looked_at.held():
        pass
    assert str(error.value) == (
        f"{looked_at.path} is on a file system that cannot lock files (No locks available), so nothing keeps two "
        "trainings apart there: name a folder on another with --runs or SSLKIT_RUNS"
    )


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there are no runs in .*: `sslkit train RECIPE` makes one"):
        find_run(None, tmp_path)
    run = Run.create(tmp_path, "a")
    run.write_status("running", 1, 10, 0, 2)
    with pytest.raises(RunError, match=r"there is no run 'b' in .*: `sslkit runs list` shows what there is"):
        find_run("b", tmp_path)
    (run.path / "status.json").write_text('{"state": "runn')
    with pytest.raises(RunError, match=r"is not a run folder: its status.json cannot be read"):
        _ = run.status


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot make a run folder in .*file: Not a directory; name another"):
        Run.create(tmp_path / "file", "a")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left") as error:
        write_atomic(path, "new")
    assert error.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["latest", "", ".", "a/b", "x" * 65])
def test_names_that_no_folder_may_have_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match=r"a run cannot be called .*: set run.name to letters"):
        Run.create(tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_says_so(tmp_path: Path, monkeypatch) -> None:
    run = Run.create(tmp_path, "a")

    def refuse(path: Path, *args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunError) as error, run.held():
        pass
    assert str(error.value) == (
        f"nothing can be written to {run.path}: Read-only file system; "
        "a run that cannot be written to can be evaluated, but not trained"
    )


def test_holding_a_run_removes_what_a_killed_process_left_incomplete(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "a")
    whole = run.checkpoints / "last.ckpt"
    for path in (whole, run.path / ".metrics.csv.1.part", run.checkpoints / ".last.ckpt.1.part"):
        path.write_text("x")
    with run.held():
        assert [path.name for path in run.path.rglob("*") if path.name.endswith((".part", ".ckpt"))] == ["last.ckpt"]


def test_evaluations_keep_their_order_within_one_tick_of_the_clock_and_when_it_is_set_back(
    tmp_path: Path, monkeypatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def]
            return cls(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=tz)

    run = Run.create(tmp_path, "a")
    monkeypatch.setattr("sslkit.runs.datetime", Clock)
    for name in ("20260101-120000-999998-ffff", "99991231-235959-999999-ffff", "own"):
        (run.evaluations / f"{name}.json").write_text("{}")
    saved = [run.save_evaluation({}) for _ in range(20)]
    assert sorted(saved) == saved
    assert min(path.name for path in saved) > "20260101-120000-999998-ffff.json"
