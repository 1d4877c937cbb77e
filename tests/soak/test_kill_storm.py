"""SIGKILL at random moments, resumed to the end, must change nothing; `make soak` repeats it more often."""

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
from safetensors.torch import load_file

from sslkit.training.checkpoint.files import load_checkpoint, newest_valid

SETTINGS = ["--set", "train.checkpoint_every=2 steps"]
OPENING_S = 10.0
"""Longer than it takes until a process that goes on has begun to train, on two cores."""
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


def finish(arguments: list[str], folder: Path) -> None:
    process = start(arguments, folder)
    _, err = process.communicate()
    assert process.returncode == 0, err


def run_of(folder: Path) -> Path:
    (run,) = folder.glob("runs/tiny/*")
    return run


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The trained weights, the queue with them, and every row of the history."""
    run = run_of(folder)
    rows = [line for line in (run / "metrics.csv").read_text().splitlines() if ",time/" not in line]
    saved = load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    return load_file(run / "backbone.safetensors") | load_file(run / "heads.safetensors") | saved, rows


def kill_at_random(arguments: list[str], folder: Path, moments: random.Random, longest_s: float) -> int | None:
    """Kill a process at some moment; returns the last step that the run says it saved, None where it was finished.

    A first process is killed some time after it has saved for the first time.  One that goes on is as often killed
    before, while it imports, looks for a checkpoint, cuts the history and loads.
    """
    process = start(arguments, folder)
    before = {path: path.lstat().st_mtime_ns for path in folder.glob("runs/tiny/*/checkpoints/last.ckpt")}
    soon = bool(before) and moments.random() < 0.5
    began = time.monotonic()
    opening_s = moments.uniform(2, OPENING_S) if soon else float("inf")
    while process.poll() is None and time.monotonic() - began < opening_s:
        saved = {path: path.lstat().st_mtime_ns for path in folder.glob("runs/tiny/*/checkpoints/last.ckpt")}
        if saved and saved != before:
            break
        time.sleep(0.005)
    if not soon:
        time.sleep(moments.uniform(0, longest_s))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode == 0:
        return None
    return int(json.loads((run_of(folder) / "status.json").read_text())["step"])


def storm(tiny: Path, tmp_path: Path, method: str, kills: int, seed: int, epochs: int) -> dict[str, int]:
    begin = ["train", str(tiny), "--set", f"train.epochs={epochs}", *SETTINGS, *METHODS[method]]
    finish(begin, tmp_path / "calm")
    weights, rows = outcome(tmp_path / "calm")
    moments = random.Random(seed)
    done = {"kills": 0, "runs": 0, "bit_identical": 0, "saved_steps_lost": 0}
    while done["kills"] < kills:
        folder = tmp_path / f"storm{done['runs']}"
        arguments = begin
        for _ in range(2):
            reached = kill_at_random(arguments, folder, moments, epochs / 12)
            if reached is None:
                break
            done["kills"] += 1
            kept, _ = newest_valid(run_of(folder) / "checkpoints")
            done["saved_steps_lost"] += max(0, reached - (kept.step if kept else 0))
            arguments = ["resume", str(run_of(folder))]
        if not (run_of(folder) / "backbone.safetensors").exists():
            finish(["resume", str(run_of(folder))], folder)
        done["runs"] += 1
        found, found_rows = outcome(folder)
        same = weights.keys() == found.keys() and all(torch.equal(weights[name], found[name]) for name in weights)
        done["bit_identical"] += same and found_rows == rows
    return done


def test_a_killed_run_ends_in_the_same_bits(tiny: Path, tmp_path: Path) -> None:
    done = storm(tiny, tmp_path, "swav", kills=1, seed=0, epochs=4)
    assert done["bit_identical"] == done["runs"]
    assert done["saved_steps_lost"] == 0


@pytest.mark.soak
@pytest.mark.parametrize("method", METHODS)
def test_fifty_kills(method: str, tiny: Path, tmp_path: Path, record) -> None:
    done = storm(tiny, tmp_path, method, kills=50, seed=1, epochs=12)
    record(f"kill storm, {method}", done)
    assert done["bit_identical"] == done["runs"]
    assert done["saved_steps_lost"] == 0
