"""Memory limit of a container or cluster job, read from Linux control groups (cgroups)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def cgroup_memory(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory limit in bytes that all processes of this process's cgroup share.

    Parent groups have their own limits; the lowest limit is returned.

    Args:
        own: file that lists the cgroups of this process, one per line as ``ID:CONTROLLERS:PATH``.
        root: folder where the kernel mounts the cgroup files.

    Returns:
        ``sys.maxsize`` if there is no limit, or the system has no cgroups.
    """
    limits = [sys.maxsize]
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            for file in _limit_files(line, root):
                # Version 2 of cgroups writes "max" for no limit.
                with suppress(OSError, ValueError):
                    limits.append(int(file.read_text()))
    return min(limits)


def _limit_files(line: str, root: Path) -> Iterator[Path]:
    _, controllers, path = line.split(":", 2)
    if controllers and "memory" not in controllers.split(","):
        return
    top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
    group = top / path.lstrip("/")
    yield from (folder / name for folder in (group, *group.parents) if folder.is_relative_to(top))
