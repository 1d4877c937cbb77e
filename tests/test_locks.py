"""Only one process at a time has an exclusive lock. Other processes wait and report this once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from sslkit.locks import exclusive, is_locked, try_lock


def test_second_process_waits_and_reports_it_once(tmp_path: Path) -> None:
    path, order, waiting = tmp_path / "new" / "one.lock", [], Event()

    def on_wait() -> None:
        order.append("waits")
        waiting.set()

    def second() -> None:
        with exclusive(path, on_wait):
            order.append("second")

    with ThreadPoolExecutor() as pool:
        with exclusive(path, lambda: pytest.fail("no process has the lock")):
            future = pool.submit(second)
            assert waiting.wait(60)
            time.sleep(1.2)  # long enough for two more attempts
            order.append("first")
        future.result(60)
    assert order == ["waits", "first", "second"]
    assert not is_locked(path)


def test_lock_is_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive(tmp_path / "one.lock", lambda: None):
        raise KeyError
    with exclusive(tmp_path / "one.lock", lambda: pytest.fail("no process has the lock")):
        assert is_locked(tmp_path / "one.lock")


def test_block_runs_without_a_lock_if_the_file_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with exclusive(tmp_path / "file" / "one.lock", lambda: pytest.fail("there is no lock to wait for")):
        pass


def test_checking_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    assert not is_locked(path)
    with path.open("a") as file, path.open("a") as other:
        assert try_lock(file)
        assert is_locked(path)
        assert not try_lock(other)
    assert not is_locked(path)
