from __future__ import annotations

import errno
import os
import time
from collections import namedtuple
from pathlib import Path

import pytest

from sslkit.data import cache as module
from sslkit.data.cache import cache_folder, entry, need_space, write_file
from sslkit.errors import DataError


def write(text: str):
    return lambda folder: (folder / "text").write_text(text)


def test_the_folder_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SSLKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/sslkit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("~/.cache/sslkit").expanduser()


def test_an_entry_is_built_once(cache: Path) -> None:
    assert entry(cache, "one", write("first")) == cache / "one"
    entry(cache, "one", write("second"))
    assert (cache / "one" / "text").read_text() == "first"


def test_the_loser_of_a_race_uses_the_winners_entry(cache: Path) -> None:
    def lose(folder: Path) -> None:
        write("mine")(folder)
        entry(cache, "one", write("theirs"))

    assert (entry(cache, "one", lose) / "text").read_text() == "theirs"
    assert [path.name for path in cache.iterdir()] == ["one"]


def test_a_failed_build_leaves_nothing(cache: Path) -> None:
    def fail(folder: Path) -> None:
        write("half")(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        entry(cache, "one", fail)
    assert [path.name for path in cache.iterdir()] == []


def test_leftovers_of_a_killed_build_are_not_used_and_go_after_a_day(cache: Path) -> None:
    for name, age in (("old", 25 * 3600), ("new", 0)):
        left = cache / f".building-{name}"
        left.mkdir(parents=True)
        (left / "text").write_text("half")
        for path in (left / "text", left):
            os.utime(path, (time.time() - age,) * 2)
    assert (entry(cache, "one", write("whole")) / "text").read_text() == "whole"
    assert sorted([path.name for path in cache.iterdir()]) == [".building-new", "one"]


def test_leftovers_of_a_killed_note_go_too_and_a_failed_one_leaves_none(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = cache / "seen" / ".building-old"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    os.utime(left, (time.time() - 25 * 3600,) * 2)
    write_file(cache / "seen" / "one", "whole")
    assert [path.name for path in left.parent.iterdir()] == ["one"]

    def full(path: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match="No space left"):
        write_file(cache / "seen" / "two", "whole")
    assert [path.name for path in left.parent.iterdir()] == ["one"]


def test_what_is_still_growing_after_a_day_stays(cache: Path) -> None:
    busy = cache / ".building-busy"
    busy.mkdir(parents=True)
    (busy / "images.npy").write_text("growing")
    os.utime(busy, (time.time() - 25 * 3600,) * 2)
    entry(cache, "one", write("whole"))
    assert (busy / "images.npy").exists()


def test_a_full_disk_is_told_with_a_way_out(cache: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError) as caught:
        entry(cache, "one", full)
    assert str(caught.value) == (
        f"the cache {cache} cannot be written: No space left on device. "
        "Free some space there, or set SSLKIT_CACHE to a folder that can be written and has room."
    )


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"the cache .*file/cache cannot be written: Not a directory\. Free"):
        entry(tmp_path / "file" / "cache", "one", write(""))
    with pytest.raises(DataError, match="file cannot be written: File exists"):
        write_file(tmp_path / "file" / "note", "text")


def test_what_will_not_fit_is_refused_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage(10**9, 0, 10**9))
    need_space(tmp_path, 10**9)
    with pytest.raises(DataError, match=r"needs 3\.50 GB, but its disk has 1\.00 GB free"):
        need_space(tmp_path, 3_500_000_000)
