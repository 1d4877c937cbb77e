from __future__ import annotations

import errno
import os
import time
from collections import namedtuple
from pathlib import Path

import pytest

from sslkit.data import cache as cache_module
from sslkit.data.cache import cache_folder, get_or_build, require_free_space, write_file
from sslkit.errors import DataError


def build_text(text: str):
    return lambda folder: (folder / "text").write_text(text)


def test_the_folder_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SSLKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/sslkit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("~/.cache/sslkit").expanduser()


def test_an_entry_is_built_once(cache: Path) -> None:
    assert get_or_build(cache, "one", build_text("first")) == cache / "one"
    get_or_build(cache, "one", build_text("second"))
    assert (cache / "one" / "text").read_text() == "first"


def test_the_slower_of_two_builds_uses_the_other_entry(cache: Path) -> None:
    def lose(folder: Path) -> None:
        build_text("mine")(folder)
        get_or_build(cache, "one", build_text("theirs"))

    assert (get_or_build(cache, "one", lose) / "text").read_text() == "theirs"
    assert [path.name for path in cache.iterdir()] == ["one"]


def test_a_failed_build_leaves_nothing(cache: Path) -> None:
    def fail(folder: Path) -> None:
        build_text("half")(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_or_build(cache, "one", fail)
    assert [path.name for path in cache.iterdir()] == []


def test_temporary_folders_of_killed_builds_are_removed_after_a_day(cache: Path) -> None:
    for name, age in (("old", 25 * 3600), ("new", 0)):
        temporary = cache / f".building-{name}"
        temporary.mkdir(parents=True)
        (temporary / "text").write_text("half")
        for path in (temporary / "text", temporary):
            os.utime(path, (time.time() - age,) * 2)
    assert (get_or_build(cache, "one", build_text("complete")) / "text").read_text() == "complete"
    assert sorted([path.name for path in cache.iterdir()]) == [".building-new", "one"]


def test_temporary_files_are_removed_after_a_day_and_after_a_failed_write(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = cache / "hashes" / ".building-old"
    temporary.parent.mkdir(parents=True)
    temporary.write_text("half")
    os.utime(temporary, (time.time() - 25 * 3600,) * 2)
    write_file(cache / "hashes" / "one", "complete")
    assert [path.name for path in temporary.parent.iterdir()] == ["one"]

    def full(path: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match="No space left"):
        write_file(cache / "hashes" / "two", "complete")
    assert [path.name for path in temporary.parent.iterdir()] == ["one"]


def test_a_build_that_still_writes_after_a_day_is_not_removed(cache: Path) -> None:
    busy = cache / ".building-busy"
    busy.mkdir(parents=True)
    (busy / "images.npy").write_text("growing")
    os.utime(busy, (time.time() - 25 * 3600,) * 2)
    get_or_build(cache, "one", build_text("complete"))
    assert (busy / "images.npy").exists()


def test_the_error_for_a_full_disk_says_what_to_do(cache: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError) as caught:
        get_or_build(cache, "one", full)
    assert str(caught.value) == (
        f"the cache {cache} cannot be written: No space left on device. "
        "Free some space there, or set SSLKIT_CACHE to a writable folder with enough space."
    )


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"the cache .*file/cache cannot be written: Not a directory\. Free"):
        get_or_build(tmp_path / "file" / "cache", "one", build_text(""))
    with pytest.raises(DataError, match="file cannot be written: File exists"):
        write_file(tmp_path / "file" / "note", "text")


def test_missing_free_space_is_an_error_before_work_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda folder: usage(10**9, 0, 10**9))
    require_free_space(tmp_path, 10**9)
    with pytest.raises(DataError, match=r"needs 3\.50 GB, but its disk has 1\.00 GB free"):
        require_free_space(tmp_path, 3_500_000_000)
