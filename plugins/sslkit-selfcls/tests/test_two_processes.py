"""Two processes with half the batch each give the loss and gradients of one process with all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch


def test_two_processes_equal_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_processes.py")
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=120)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("alone", "0", "1"))
    assert alone["gradient 2"].abs().max() > 1e-3
    assert (alone["queue.queue.index"] >= 0).all(), "the queue must be in use for its part to be tested"
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: name + text)
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0)
