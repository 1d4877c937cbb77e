"""Two processes, each with half of the batch, compute the same loss and gradients as one process."""

from __future__ import annotations

from pathlib import Path

import torch
from processes.two_processes import run_script


def test_two_processes_equal_one(tmp_path: Path) -> None:
    single, first, second = run_script(Path(__file__).with_name("loss_in_two_processes.py"), tmp_path)
    assert single["gradient 2"].abs().max() > 1e-3
    assert (single["queue.queue.index"] >= 0).all(), "the queue must be full, otherwise it is not tested"
    for name, value in single.items():
        torch.testing.assert_close(first[name], value, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: name + text)
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0)
