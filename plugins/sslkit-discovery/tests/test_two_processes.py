"""Two processes with half of the batch each give the losses, gradients and buffers of one process."""

from __future__ import annotations

from pathlib import Path

import torch
from processes.two_processes import run_script


def test_two_processes_equal_one(tmp_path: Path) -> None:
    single, first, second = run_script(Path(__file__).with_name("discovery_in_two_processes.py"), tmp_path)
    for name in ("scan", "temi", "secu", "self-label", "ruc", "sela"):
        assert single[f"{name} 3 gradient"].abs().max() > 1e-3
    assert single["deepcluster-v2 3 embeddings"].abs().max() > 1e-3
    assert (single["secu assignments.0.labels"] >= 0).all(), "images without labels are not tested"
    assert single["secu assignments.0.duals"].any(), "duals of 0 are not tested"
    assert 0 < single["self-label 3 confident"] < 1, "confident and other images are tested together"
    assert 0 < single["ruc 0 clean"] < single["ruc 3 clean"], "no image is promoted"
    assert set(first) == set(second) == set(single)
    for name, value in single.items():
        torch.testing.assert_close(first[name], value, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: name + text)
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0)
