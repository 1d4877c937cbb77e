"""Find the run that a user names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sslkit.errors import RunError
from sslkit.runs.find import all_runs, find_finished_run, find_run, find_unfinished_run
from sslkit.runs.run import Run


def create(root: Path, name: str, number: int, state: str, step: int = 10) -> Run:
    """Create a run whose ID sorts by ``number``, and mark it as the latest."""
    run = Run.create(root, name)
    run.write_status(state, step, 10, step // 5, 2)
    path = run.path.with_name(f"20260101-00000{number}-aaaa")
    run.path.rename(path)
    Run(path).mark_latest()
    return Run(path)


def test_run_is_found_by_folder_name_id_or_as_the_latest(tmp_path: Path) -> None:
    first, second = create(tmp_path, "a", 1, "interrupted", 3), create(tmp_path, "b", 2, "finished")
    assert find_run(None, tmp_path).path == find_run("latest", tmp_path).path == second.path
    first.mark_latest()
    assert find_run(None, tmp_path).path == find_run("latest", tmp_path).path == first.path
    for spec in ("a", first.name, first.path.name, str(first.path)):
        assert find_run(spec, tmp_path).path == first.path
    assert find_unfinished_run(None, tmp_path).path == first.path
    assert [run.path for run in all_runs(tmp_path)] == [first.path, second.path]


def test_runs_of_the_same_second_are_sorted_by_creation(tmp_path: Path) -> None:
    for suffix, created in (("aaaa", 3), ("bbbb", 1), ("cccc", 2)):
        run = Run.create(tmp_path, "a")
        run.write_status("finished", 10, 10, 2, 2)
        run = Run(run.path.rename(run.path.with_name(f"20260101-000001-{suffix}")))
        run.recipe.write_text("")
        os.utime(run.recipe, (created, created))
    assert [run.path.name[-4:] for run in all_runs(tmp_path)] == ["bbbb", "cccc", "aaaa"]
    assert find_finished_run("a", tmp_path)[0].path.name.endswith("aaaa")


def test_latest_means_the_newest_finished_run_and_newer_ones_are_named(tmp_path: Path) -> None:
    old, new = create(tmp_path, "a", 1, "finished"), create(tmp_path, "a", 2, "finished")
    assert find_finished_run(None, tmp_path)[0].path == new.path
    old.mark_latest()  # as after a resume of the old run
    for spec in (None, "latest"):
        run, note = find_finished_run(spec, tmp_path)
        assert (run.path, note) == (old.path, "")
    running = create(tmp_path, "a", 3, "running", 4)
    with running.locked():
        for spec in (None, "latest", "a"):
            run, note = find_finished_run(spec, tmp_path)
            assert run.path == new.path
            assert note == (
                f"{new.name} is used, the newest finished run: {running.name} is still running, at step 4 of 10"
            )
        assert find_finished_run(running.name, tmp_path)[0].path == running.path, "it is named"
    failed = create(tmp_path, "b", 4, "failed", 6)
    run, note = find_finished_run(None, tmp_path)
    assert run.path == new.path
    assert note.endswith(f": {failed.name} failed at step 6 of 10")
    (failed.path / "status.json").write_text("{")
    assert find_finished_run(None, tmp_path)[1].endswith(f": {failed.name} has no valid status.json")


def test_without_a_finished_run_the_newest_one_is_described(tmp_path: Path) -> None:
    stopped = create(tmp_path, "a", 1, "interrupted", 3)
    with pytest.raises(RunError) as error:
        find_finished_run(None, tmp_path)
    assert str(error.value) == (
        f"there is no finished run in {tmp_path}: {stopped.name} was interrupted at step 3 of 10; "
        f"`sslkit resume {stopped.path}` completes it"
    )
    running = create(tmp_path, "a", 2, "running", 4)
    with running.locked(), pytest.raises(RunError) as error:
        find_finished_run(None, tmp_path)
    assert str(error.value).endswith(f"{running.name} is still running, at step 4 of 10; wait until it has finished")


def test_resume_takes_the_newest_stopped_run_and_never_a_running_one(tmp_path: Path) -> None:
    failed = create(tmp_path, "a", 1, "failed", 6)
    create(tmp_path, "b", 2, "finished")
    running = create(tmp_path, "c", 3, "running", 4)
    with running.locked():
        for spec in (None, "latest"):
            assert find_unfinished_run(spec, tmp_path).path == failed.path
        failed.write_status("finished", 10, 10, 2, 2)
        for spec in (None, "latest"):
            with pytest.raises(RunError) as error:
                find_unfinished_run(spec, tmp_path)
            assert str(error.value) == (
                f"there is nothing to resume in {tmp_path}: no run was stopped before its end; "
                f"{running.name} is still running, at step 4 of 10"
            )
    assert find_unfinished_run(None, tmp_path).path == running.path, "its process was killed"


def test_missing_run_is_refused_with_a_remedy(tmp_path: Path) -> None:
    for find in (find_run, find_finished_run, find_unfinished_run):
        with pytest.raises(RunError, match=r"there are no runs in .*`sslkit train RECIPE`.*--runs"):
            find(None, tmp_path)
    Run.create(tmp_path, "a").write_status("running", 1, 10, 0, 2)
    folder = tmp_path / "runs/a/without-status"
    folder.mkdir(parents=True)
    for find in (find_run, find_finished_run, find_unfinished_run):
        with pytest.raises(RunError, match=r"there is no run .*\(.*/without-status is a folder without status.json\)"):
            find(str(folder), tmp_path)
        with pytest.raises(RunError, match=r"there is no run 'b' in .*`sslkit runs list`"):
            find("b", tmp_path)
