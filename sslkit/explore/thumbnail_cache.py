"""Thumbnails on disk, up to a total size. The least recently used thumbnails are deleted first."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from sslkit.data.cache import cache_folder

MAX_BYTES = 2 << 30
"""Largest total size of all thumbnails, in bytes: about 200 000 thumbnails."""

TRIM_EVERY = 5000
"""Number of thumbnails that are saved between two checks of the total size."""

DAY_S = 24 * 3600
"""Seconds after which using a thumbnail renews its time stamp, and after which an unfinished file is deleted."""


def thumbnails_folder() -> Path:
    """Return the path of the thumbnail folder. ``ThumbnailCache.save`` creates the folder if needed."""
    return cache_folder() / "thumbnails"


class ThumbnailCache:
    """On-disk cache of the thumbnails of all runs. Threads and processes can safely use the cache at the same time.

    Args:
        limit: largest total size in bytes.
    """

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self.limit = limit
        self._saved = 0
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes | None:
        """Return the thumbnail with a key, or None if there is none."""
        path = _path(key)
        try:
            data = path.read_bytes()
            if time.time() - path.stat().st_mtime > DAY_S:
                os.utime(path)
        except OSError:
            return None
        return data or None

    def save(self, key: str, data: bytes) -> None:
        """Save a thumbnail. If this fails, for example because the disk is full, raise no error."""
        path = _path(key)
        temporary = path.with_name(f".{uuid4().hex}")
        with suppress(OSError):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(data)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        with self._lock:
            due = self._saved % TRIM_EVERY == 0
            self._saved += 1
        if due:
            threading.Thread(target=self.trim, name="explore-trim", daemon=True).start()

    def trim(self) -> None:
        """Delete unfinished files of killed processes, and limit the total size of the thumbnails.

        The least recently used thumbnails are deleted until the total size is at most ``limit``.
        """
        found: list[tuple[float, int, Path]] = []
        for path in thumbnails_folder().rglob("*"):
            with suppress(OSError):
                status = path.stat()
                if path.name.startswith(".") and time.time() - status.st_mtime > DAY_S:
                    path.unlink()
                elif path.suffix == ".webp":
                    found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit:
                break
            with suppress(OSError):
                path.unlink()
                total -= size


def _path(key: str) -> Path:
    digest = sha256(os.fsencode(key)).hexdigest()[:32]
    return thumbnails_folder() / digest[:2] / f"{digest}.webp"
