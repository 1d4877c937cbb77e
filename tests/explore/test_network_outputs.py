"""Outputs of a run's network: their values, and when they are read from the cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from sslkit import Run
from sslkit.explore import network_outputs
from sslkit.explore.run_images import RunImages, load_run_images
from sslkit.features.extraction import classify_features
from sslkit.trained.network import TrainedNetwork


def load(run: Run) -> RunImages:
    return load_run_images(run, "cpu", lambda stage, done, total: None)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(network_outputs, "BLOCK", 7)


def test_a_second_start_reads_the_saved_outputs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load(run)
    network = TrainedNetwork(run, "cpu")
    features = torch.cat([network.frozen.features(store) for store in images.stores])
    logits = classify_features(network.head, features, network.classifier)
    torch.testing.assert_close(images.backbone_features(torch.arange(52)), features)
    torch.testing.assert_close(images.features.norm(dim=1), torch.ones(52))
    torch.testing.assert_close(images.logits, logits)
    assert images.stability is not None
    calls: list[Run] = []
    compute = network_outputs._compute
    monkeypatch.setattr(network_outputs, "_compute", lambda run, *rest: calls.append(run) or compute(run, *rest))
    again = load(run)
    assert calls == []
    for name in ("features", "norms", "logits", "stability", "labels", "split"):
        assert torch.equal(getattr(again, name), getattr(images, name)), name
    assert (again.temperature, again.notes) == (images.temperature, images.notes)
    # The outputs are computed again if a file of the run changes, or if the saved file is truncated.
    os.utime(run.heads, ns=(1, 1))
    load(run)
    assert len(calls) == 1
    for saved in Path(os.environ["SSLKIT_CACHE"]).glob("features/outputs-*"):
        os.truncate(saved, saved.stat().st_size // 2)
    assert any("damaged" in note for note in load(run).notes)
    assert len(calls) == 2
