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
    """Write the results of a soak test, with machine and versions, to the record in the repository."""

    def write(name: str, results: dict[str, Any]) -> None:
        versions = {package: metadata.version(package) for package in ("sslkit", "torch", "pytorch-lightning")}
        with RECORD.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # soak tests run in parallel
            records = json.load(file)
            records[name] = results | {"machine": platform.platform(), "versions": versions}
            file.seek(0)
            file.truncate()
            file.write(json.dumps(records, indent=1) + "\n")

    return write
