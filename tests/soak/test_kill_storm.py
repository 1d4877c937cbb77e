"""A run that is killed by SIGKILL at random times and resumed is bit-identical to an uninterrupted run.

The test suite kills one forked process. ``make soak`` kills new processes often, also while they import and load.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from equal_runs import assert_equal_runs
from processes.forked_cli import run_sslkit, start_sslkit
from safetensors.torch import load_file

from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint, newest_valid

SETTINGS = ["--set", "train.checkpoint_every=2 steps"]

STARTUP_S = 10.0
"""Seconds, longer than a resumed process needs to start training on two CPU cores."""

METHODS = {
    "selfcls": ["--set", "loss.queue_size=512"],
    "swav": [
        "--set", "head={use = 'swav', prototypes = [30], hidden_dim = 64}",
        "--set", "loss={use = 'swav', queue_size = 512, queue_start = '1 epochs'}",
    ],
}  # fmt: skip


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"SSLKIT_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sslkit.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def run_to_end(arguments: list[str], folder: Path) -> None:
    process = start(arguments, folder)
    _, err = process.communicate()
    assert process.returncode == 0, err


def only_run(folder: Path) -> Path:
    (run,) = folder.glob("runs/tiny/*")
    return run


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return the trained weights, the last checkpoint's state with the queue, and the rows of metrics.csv."""
    run = only_run(folder)
    rows = [line for line in (run / "metrics.csv").read_text().splitlines() if ",time/" not in line]
    state = load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    return load_file(run / "backbone.safetensors") | load_file(run / "heads.safetensors") | state, rows


def save_times(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.glob("runs/tiny/*/checkpoints/last.ckpt")}


def kill_at_random_time(arguments: list[str], folder: Path, rng: random.Random, longest_s: float) -> int | None:
    """Kill a process at a random time; return the step in ``status.json``, or None if the run is finished.

    The first process is killed after its first checkpoint. Half of the resumed processes are killed before their first
    checkpoint, while they import, search for a checkpoint, truncate the metrics file and load.
    """
    process = start(arguments, folder)
    before = save_times(folder)
    during_startup = bool(before) and rng.random() < 0.5
    started = time.monotonic()
    startup_s = rng.uniform(2, STARTUP_S) if during_startup else float("inf")
    while process.poll() is None and time.monotonic() - started < startup_s:
        if (saved := save_times(folder)) and saved != before:
            break
        time.sleep(0.005)
    if not during_startup:
        time.sleep(rng.uniform(0, longest_s))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode == 0:
        return None
    return int(json.loads((only_run(folder) / "status.json").read_text())["step"])


def kill_storm(tiny: Path, tmp_path: Path, method: str, kills: int, seed: int, epochs: int) -> dict[str, int]:
    """Train runs, kill each of them twice, until there are enough kills; return counts."""
    train = ["train", str(tiny), "--set", f"train.epochs={epochs}", *SETTINGS, *METHODS[method]]
    run_to_end(train, tmp_path / "uninterrupted")
    expected, expected_rows = outcome(tmp_path / "uninterrupted")
    rng = random.Random(seed)
    counts = {"kills": 0, "runs": 0, "bit_identical": 0, "saved_steps_lost": 0}
    while counts["kills"] < kills:
        folder = tmp_path / f"killed{counts['runs']}"
        arguments = train
        for _ in range(2):
            reported_step = kill_at_random_time(arguments, folder, rng, epochs / 12)
            if reported_step is None:
                break
            counts["kills"] += 1
            newest, _ = newest_valid(only_run(folder) / "checkpoints")
            counts["saved_steps_lost"] += max(0, reported_step - (newest.step if newest else 0))
            arguments = ["resume", str(only_run(folder))]
        if not (only_run(folder) / "backbone.safetensors").exists():
            run_to_end(["resume", str(only_run(folder))], folder)
        counts["runs"] += 1
        state, rows = outcome(folder)
        equal = expected.keys() == state.keys() and all(torch.equal(expected[name], state[name]) for name in expected)
        counts["bit_identical"] += equal and rows == expected_rows
    return counts


def test_a_killed_run_ends_in_the_same_bits(tiny: Path, tmp_path: Path) -> None:
    train = ["train", str(tiny), "--set", "train.epochs=4", *SETTINGS, *METHODS["swav"]]
    environments = {name: os.environ | {"SSLKIT_RUNS": str(tmp_path / name / "runs")} for name in ("whole", "killed")}
    done = run_sslkit(train, environments["whole"], tmp_path)
    assert done.returncode == 0, done.stderr

    killed = tmp_path / "killed"
    with (tmp_path / "log").open("w") as log:
        process = start_sslkit(train, environments["killed"], tmp_path, log, log)
        while process.is_alive() and not save_times(killed):
            time.sleep(0.005)
        time.sleep(random.Random(0).uniform(0, 0.1))  # 18 steps and 9 checkpoints take longer
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL, (tmp_path / "log").read_text()
    run = Run(only_run(killed))
    newest, _ = newest_valid(run.checkpoints)
    assert newest is not None
    assert newest.step >= run.status.step
    done = run_sslkit(["resume", str(run.path)], environments["killed"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert_equal_runs(run, Run(only_run(tmp_path / "whole")))


@pytest.mark.soak
@pytest.mark.parametrize("method", METHODS)
def test_fifty_kills(method: str, tiny: Path, tmp_path: Path, record) -> None:
    counts = kill_storm(tiny, tmp_path, method, kills=50, seed=1, epochs=12)
    record(f"kill storm, {method}", counts)
    assert counts["bit_identical"] == counts["runs"]
    assert counts["saved_steps_lost"] == 0
