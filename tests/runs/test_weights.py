from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sslkit.errors import RunError
from sslkit.runs.json_records import RUN_FORMAT
from sslkit.runs.weights import load_weights, save_weights
from sslkit.runs.weights_header import KEY, read_metadata


def test_weights_and_metadata_survive_saving_and_loading(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    saved, loaded = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    saved(torch.rand(2, 3, 4, 4))
    save_weights(saved, path, {"mean": [0.5], "name": "é"})
    load_weights(loaded, path)
    assert torch.equal(saved.running_mean, loaded.running_mean)
    assert read_metadata(path) == {"format": RUN_FORMAT, "mean": [0.5], "name": "é"}


def test_module_with_two_names_is_saved_under_both(tmp_path: Path) -> None:
    shared = nn.LayerNorm(3)
    save_weights(nn.ModuleList([shared, shared]), tmp_path / "w.safetensors", {})
    loaded = nn.ModuleList([nn.LayerNorm(3), nn.LayerNorm(3)])
    nn.init.zeros_(loaded[0].weight)
    load_weights(loaded, tmp_path / "w.safetensors")
    assert loaded[0].weight.tolist() == loaded[1].weight.tolist() == [1, 1, 1]


def test_missing_damaged_and_unsuitable_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(RunError, match=r"w.safetensors does not exist"):
        read_metadata(path)
    save_weights(nn.Linear(2, 2), path, {})
    with pytest.raises(RunError, match=r"cannot be used: Error\(s\) in loading state_dict for Linear"):
        load_weights(nn.Linear(2, 3), path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RunError, match="cannot be used"):
        load_weights(nn.Linear(2, 2), path)
    with pytest.raises(RunError, match="cannot be read"):
        read_metadata(path)


@pytest.mark.parametrize(("metadata", "version"), [({}, "1"), ({"format": RUN_FORMAT + 1}, str(RUN_FORMAT + 1))])
def test_weights_of_another_run_format_are_refused(tmp_path: Path, metadata: dict[str, int], version: str) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.zeros(1)}, path, {KEY: json.dumps(metadata)})
    with pytest.raises(RunError, match=rf"{path} has run format {version}, .* reads format {RUN_FORMAT}: train again"):
        read_metadata(path)
