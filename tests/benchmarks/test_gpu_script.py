"""``benchmarks/gpu.sh`` with a stand-in for Python: stages are stopped at their limit, and their results are kept."""

from __future__ import annotations

import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"

PYTHON = """\
#!/bin/sh
case "$*" in
  *test_gpu.py*) echo '{}' > "$SSLKIT_RECORDS/first.json"; echo testing; exec sleep 60 ;;
  *ceiling.py*) echo "measuring $*" ;;
  *peers.py*) exit 3 ;;
esac
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    monkeypatch.setenv("PYTHON", str(python))
    return [str(SCRIPT), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]


def kept_records(tmp_path: Path) -> list[str]:
    with tarfile.open(tmp_path / "out" / "results.tar.gz") as archive:
        return [name for name in archive.getnames() if name.endswith(".json")]


def test_a_stage_that_fails_or_exceeds_its_limit_does_not_stop_the_next_one(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*command, "tests=1", "peers", "ceiling"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    summary = [line.partition(" after")[0] for line in done.stdout.splitlines() if ": exit status" in line]
    # SIGINT ends the stage; if the caller ignores SIGINT, as `nohup COMMAND &` does, SIGKILL ends it.
    assert summary.pop(0) in ("tests: exit status 130", "tests: exit status 137")
    assert summary == ["peers: exit status 3", "ceiling: exit status 0"]
    logs = {path.stem: path.read_text() for path in (tmp_path / "out").glob("*.log")}
    assert logs["tests"] == "testing\ngpu.sh: stopped after 1 s\n"
    assert [line.split()[3] for line in logs["ceiling"].splitlines()] == ["imagenet", "small"]
    assert kept_records(tmp_path) == ["records/first.json"]


def test_results_are_kept_if_the_script_is_terminated(command: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen([*command, "tests"], stdout=subprocess.PIPE, text=True)
    log = tmp_path / "out" / "tests.log"
    while not (log.exists() and log.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert kept_records(tmp_path) == ["records/first.json"]


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["--wheels"]])
def test_wrong_arguments_are_refused(command: list[str], arguments: list[str]) -> None:
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
