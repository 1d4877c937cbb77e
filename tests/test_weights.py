from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sslkit.errors import RunError
from sslkit.runs.weights import load_weights, read_metadata, save_weights


def test_weights_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    one, other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    one(torch.rand(2, 3, 4, 4))
    save_weights(one, path, {"mean": [0.5], "name": "é"})
    load_weights(other, path)
    assert torch.equal(one.running_mean, other.running_mean)
    assert read_metadata(path) == {"mean": [0.5], "name": "é"}


def test_a_module_in_two_places_is_saved_in_both(tmp_path: Path) -> None:
    shared = nn.LayerNorm(3)
    save_weights(nn.ModuleList([shared, shared]), tmp_path / "w.safetensors", {})
    other = nn.ModuleList([nn.LayerNorm(3), nn.LayerNorm(3)])
    nn.init.zeros_(other[0].weight)
    load_weights(other, tmp_path / "w.safetensors")
    assert other[0].weight.tolist() == other[1].weight.tolist() == [1, 1, 1]


def test_damaged_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(RunError, match=r"there are no weights .*: the run has not finished; `sslkit resume`"):
        read_metadata(path)
    save_weights(nn.Linear(2, 2), path, {})
    with pytest.raises(RunError, match=r"cannot be used: Error\(s\) in loading state_dict for Linear"):
        load_weights(nn.Linear(2, 3), path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RunError, match="cannot be used"):
        load_weights(nn.Linear(2, 2), path)
    with pytest.raises(RunError, match="cannot be read"):
        read_metadata(path)
