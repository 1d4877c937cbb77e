from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sslkit.evaluation.run_subject import RunSubject
from sslkit.runs.run import Run
from sslkit.runs.weights_header import read_metadata
from sslkit.trained.network import TrainedNetwork


def test_network_is_in_the_fastest_memory_order(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def channels_last() -> set[bool]:
        parameters = TrainedNetwork(Run(finished_run), "cpu").backbone.parameters()
        weights = (weight for weight in parameters if weight.ndim == 4 and weight.shape[1] > 1)
        return {weight.is_contiguous(memory_format=torch.channels_last) for weight in weights}

    assert channels_last() == {True}
    monkeypatch.setattr("sslkit.trained.network.prefers_channels_last", lambda device: False)
    assert channels_last() == {False}


def test_normalisation_is_that_of_the_views_and_not_of_the_data(finished_run: Path, tmp_path: Path) -> None:
    run = Run(shutil.copytree(finished_run, tmp_path / "run"))
    metadata = read_metadata(run.backbone) | {"mean": [0.25], "std": [0.125]}
    save_file(load_file(run.backbone), run.backbone, {"sslkit": json.dumps(metadata)})
    context = RunSubject(run, "cpu").context
    assert (context.mean, context.std) == ((0.25,), (0.125,))
