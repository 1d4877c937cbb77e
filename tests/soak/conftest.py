from __future__ import annotations

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
        known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        versions = {name: metadata.version(name) for name in ("sslkit", "torch", "pytorch-lightning")}
        known[name] = figures | {"machine": platform.platform(), "versions": versions}
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        RECORD.write_text(json.dumps(known, indent=1) + "\n")

    return keep
