"""The command ``sslkit explore``: errors that it reports before the server starts."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sslkit.cli.main import app
from sslkit.errors import InputError, RunError
from sslkit.explore.server.serve import serve
from sslkit.explore.session import Session
from sslkit.runs.corrections import CorrectionsLog
from sslkit.runs.run import Run


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(app, ["explore"])
    assert result.exit_code == 2
    assert "sslkit explore needs uvicorn" in result.output
    assert "pip install 'sslkit[explore]'" in result.output


def test_a_port_that_is_not_free_is_reported(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is not free: .*choose another --port"):
            serve(Run(tmp_path), "cpu", port, lambda address: None)


def test_a_run_that_another_process_corrects_is_reported_on_the_page(run: Run) -> None:
    log = CorrectionsLog(run.path)
    session = Session(run, "cpu")
    session.start()
    session.wait()
    assert "another `sslkit explore` has opened" in (session.error or "")
    with pytest.raises(RunError):
        CorrectionsLog(run.path)
    log.close()
