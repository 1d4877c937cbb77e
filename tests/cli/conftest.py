from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Runs below the test's folder, one thread, no terminal, and the test's own site folder in front."""
    return os.environ | {
        "SSLKIT_RUNS": str(tmp_path / "runs"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "PYTHONPATH": str(tmp_path / "site"),
    }


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path) -> Cli:
    """Run the command as a user would, in a process of its own."""

    def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sslkit.cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment | variables, cwd=tmp_path)

    return run
