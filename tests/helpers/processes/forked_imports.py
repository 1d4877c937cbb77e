"""Run the import test of the conformance tests in forked processes, which do not import torch again."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from processes.forked_cli import run_script


def run_python(command: list[str], timeout: float, **options: bool) -> CompletedProcess[str]:
    """Run ``python -c SOURCE ARGUMENTS`` in a forked process, in place of ``subprocess.run``."""
    assert command[:2] == [sys.executable, "-c"]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(command[2])
        return run_script([str(script), *command[3:]], os.environ, Path(folder), timeout)


class ForkedImport:
    """First base class of conformance tests of a plugin, which the fork server has not imported."""

    def test_import_is_fast_and_has_no_side_effects(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("subprocess.run", run_python)
        test: Any = super()
        test.test_import_is_fast_and_has_no_side_effects()
