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
    """Return the environment of commands: runs in the test's folder, one thread, the test's distributions."""
    return os.environ | {
        "SSLKIT_RUNS": str(tmp_path / "runs"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "PYTHONPATH": str(tmp_path / "site"),
    }


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path) -> Cli:
    """Return a function that runs the command in a process of its own."""

    def run(*arguments: str | Path, **variables: str) -> CompletedProcess[str]:
        return run_sslkit([str(argument) for argument in arguments], environment | variables, tmp_path)

    return run
