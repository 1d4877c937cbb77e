from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from forked_cli import run_sslkit

Cli = Callable[..., CompletedProcess[str]]


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

    def run(*arguments: str | Path, **variables: str) -> CompletedProcess[str]:
        return run_sslkit([str(argument) for argument in arguments], environment | variables, tmp_path)

    return run
