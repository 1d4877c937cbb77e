"""Which run a user means."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.errors import RunError
from sslkit.runs.find import all_runs, find_run
from sslkit.runs.run import Run


def test_run_is_found_by_folder_name_id_or_as_the_latest(tmp_path: Path) -> None:
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
    with pytest.raises(RunError, match=r"nothing to resume: every run .* is finished or still running"):
        find_run(None, tmp_path, unfinished=True)


def test_missing_run_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there are no runs in .*`sslkit train RECIPE`.*--runs"):
        find_run(None, tmp_path)
    Run.create(tmp_path, "a").write_status("running", 1, 10, 0, 2)
    with pytest.raises(RunError, match=r"there is no run 'b' in .*`sslkit runs list`"):
        find_run("b", tmp_path)
