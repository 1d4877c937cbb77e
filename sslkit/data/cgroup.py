"""How much memory a container or a cluster's job may use, as Linux' control groups tell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def cgroup_memory(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process and those beside it may use together.

    Every group above the process's own has a limit too: the lowest counts.

    Args:
        own: tells the groups of this process, a line ``ID:CONTROLLERS:PATH`` each.
        root: where the kernel shows the groups' files.

    Returns:
        ``sys.maxsize`` where nothing limits it, or the system has no control groups.
    """
    limits = [sys.maxsize]
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            for file in _files(line, root):
                # Version 2 says "max" where there is no limit.
                with suppress(OSError, ValueError):
                    limits.append(int(file.read_text()))
    return min(limits)


def _files(line: str, root: Path) -> Iterator[Path]:
    _, controllers, path = line.split(":", 2)
    if controllers and "memory" not in controllers.split(","):
        return
    top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
    group = top / path.lstrip("/")
    yield from (folder / name for folder in (group, *group.parents) if folder.is_relative_to(top))
