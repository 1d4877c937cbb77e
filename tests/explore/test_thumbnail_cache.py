"""Thumbnails on disk: their total size is limited, and threads may make the same thumbnail at the same time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from explore.images import blobs, explore_images

from sslkit.explore import thumbnail_cache
from sslkit.explore.pictures import Pictures
from sslkit.explore.thumbnail_cache import ThumbnailCache, thumbnails_folder

trim = ThumbnailCache.trim


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ThumbnailCache, "trim", lambda self: None)  # no background thread deletes files


def test_threads_make_the_same_thumbnails(tmp_path: Path) -> None:
    images = explore_images(tmp_path / "images", blobs(4))
    pictures = [Pictures(images) for _ in range(2)]  # as in two processes
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda call: pictures[call % 2].thumbnail(call % 4), range(64)))
    assert all(made[call] == made[call % 4] for call in range(64))
    assert len({data for data, _ in made}) == 4
    files = [path for path in thumbnails_folder().rglob("*") if path.is_file()]
    assert sorted(path.read_bytes() for path in files) == sorted({data for data, _ in made})


def test_the_least_recently_used_thumbnails_are_deleted() -> None:
    cache = ThumbnailCache(limit=250)
    for number in range(4):
        cache.save(f"image {number}", bytes([number]) * 100)
    for number in range(4):
        os.utime(thumbnail_cache._path(f"image {number}"), (number, number))
    unfinished = thumbnail_cache._path("image 0").with_name(".killed")
    unfinished.write_bytes(b"x")
    os.utime(unfinished, (1, 1))
    assert cache.read("image 0") == bytes(100)  # used now
    trim(cache)
    assert [cache.read(f"image {number}") is None for number in range(4)] == [False, True, True, False]
    assert not unfinished.exists()
