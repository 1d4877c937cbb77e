from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from processes.forked_cli import run_sslkit

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return environment variables for commands: the test's runs folder and distributions, and one thread."""
    return os.environ | {
        "SSLKIT_RUNS": str(tmp_path / "runs"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "PYTHONPATH": str(tmp_path / "site"),
    }


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path) -> Cli:
    """Return a function that runs the command in a separate process."""

    def run(*arguments: str | Path, **variables: str) -> CompletedProcess[str]:
        return run_sslkit([str(argument) for argument in arguments], environment | variables, tmp_path)

    return run
