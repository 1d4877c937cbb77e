"""Commands with full, closed or broken streams, and interrupted during imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from evaluation_results import evaluation_json, evaluation_result

COMMAND = [sys.executable, "-m", "sslkit.cli"]


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    line = f"{sys.executable} -m sslkit.cli {command}"
    return subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, cwd=folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", ["plugins list", "plugins list --json", "recipes show {recipe}"])
def test_full_disk_behind_stdout_is_reported(arguments: str, tiny: Path) -> None:
    done = shell(f"{arguments.format(recipe=tiny)} > /dev/full", tiny.parent)
    assert (done.returncode, done.stderr) == (1, "error: reading or writing failed: No space left on device\n")


@pytest.mark.parametrize("arguments", ["plugins list", "plugins list --json"])
def test_closed_stdout_is_not_an_error(arguments: str, tmp_path: Path) -> None:
    done = shell(f"{arguments} >&-", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments", ["plugins list", "plugins list --json", "recipes show {recipe}", "--help", "train --help", "runs list"]
)
def test_closed_pipe_ends_quietly(arguments: str, tiny: Path) -> None:
    line = f"{arguments.format(recipe=tiny)} | true; echo ${{PIPESTATUS[0]}}"
    done = shell(line, tiny.parent)
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_path_that_is_not_valid_text_is_printed_escaped(tmp_path: Path) -> None:
    odd = os.fsdecode(b"odd\xff.toml")
    done = subprocess.run([*COMMAND, "recipes", "check", odd], capture_output=True, cwd=tmp_path)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert rb"odd\udcff.toml" in done.stderr + done.stdout


def test_ctrl_c_during_imports_ends_quietly(tmp_path: Path) -> None:
    # Importing sslkit.cli.main is interrupted.
    script = (
        "import sys, types\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'sslkit.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from sslkit.cli.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_damaged_evaluation_does_not_hide_the_others(cli, tmp_path: Path) -> None:
    from sslkit.runs.evaluation_files import save_evaluation
    from sslkit.runs.run import Run

    run = Run.create(tmp_path / "runs", "trial")
    run.write_status("finished", 1, 1, 1, 1)
    save_evaluation(run, evaluation_result(cluster={"metrics": {"acc": 0.5, "spread": float("nan")}}))
    (run.evaluations / "0-damaged.json").write_text('{"cluster": ')
    done = cli("runs", "show", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["evaluations"] == [
        evaluation_json(cluster={"metrics": {"acc": 0.5, "spread": None}})
    ]
    assert f"{run.evaluations / '0-damaged.json'} is left out: it cannot be read: Expecting value" in done.stderr
