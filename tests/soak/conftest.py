from __future__ import annotations

import fcntl
import json
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

RECORD = Path(__file__).parents[2] / "benchmarks" / "records" / "soak.json"


@pytest.fixture
def record() -> Callable[[str, dict[str, Any]], None]:
    """Keep the last figures of a soak test in the repository."""

    def keep(name: str, figures: dict[str, Any]) -> None:
        versions = {name: metadata.version(name) for name in ("sslkit", "torch", "pytorch-lightning")}
        with RECORD.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # soak tests run side by side
            known = json.load(file)
            known[name] = figures | {"machine": platform.platform(), "versions": versions}
            file.seek(0)
            file.truncate()
            file.write(json.dumps(known, indent=1) + "\n")

    return keep
