"""Of several who want a file to themselves one has it, the others wait and say so once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from sslkit.locks import alone, hold, is_locked


def test_who_waits_says_so_once_and_comes_after(tmp_path: Path) -> None:
    path, order, waiting = tmp_path / "new" / "one.lock", [], Event()

    def wait() -> None:
        order.append("waits")
        waiting.set()

    def second() -> None:
        with alone(path, wait):
            order.append("second")

    with ThreadPoolExecutor() as pool:
        with alone(path, lambda: pytest.fail("nobody has it")):
            later = pool.submit(second)
            assert waiting.wait(60)
            time.sleep(1.2)  # in which it looks twice more
            order.append("first")
        later.result(60)
    assert order == ["waits", "first", "second"]
    assert not is_locked(path)


def test_who_fails_lets_others_in(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "one.lock", lambda: None):
        raise KeyError
    with alone(tmp_path / "one.lock", lambda: pytest.fail("nobody has it")):
        assert is_locked(tmp_path / "one.lock")


def test_where_no_file_can_be_made_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with alone(tmp_path / "file" / "one.lock", lambda: pytest.fail("nothing to wait for")):
        pass


def test_to_look_is_not_to_have(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    assert not is_locked(path)
    with path.open("a") as file, path.open("a") as other:
        assert hold(file)
        assert is_locked(path)
        assert not hold(other)
    assert not is_locked(path)
