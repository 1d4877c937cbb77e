"""What the benchmarks share: running the command line, and writing a dated record."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def sslkit(*arguments: str) -> Any:
    """What a command prints with ``--json``."""
    command = [sys.executable, "-m", "sslkit.cli", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write_record(name: str, command: str, found: Mapping[str, Any]) -> None:
    """Write ``benchmarks/records/<name>.json``: the figures, with command, date, machine and versions."""
    record = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"platform": platform.platform(), "processors": os.cpu_count()},
        "versions": {name: metadata.version(name) for name in ("sslkit", "torch", "pytorch-lightning")},
        **found,
    }
    path = ROOT / "benchmarks" / "records" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
