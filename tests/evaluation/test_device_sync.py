"""Evaluation on a fake GPU: the host does not wait for the device within a loop over batches."""

from __future__ import annotations

import pytest
import torch
from evaluation_subjects import SmallBackbone, SquareSubject
from torch import Tensor

from sslkit.contracts.preprocessing import Preprocessing
from sslkit.data.store import TensorStore
from sslkit.evaluation.evaluators.linear_sgd import FrozenProbe
from sslkit.evaluation.knn_classifier import knn_scores
from sslkit.evaluation.supervised_training import TrainingSettings, fit, predict_logits
from sslkit.features import row_buffer
from sslkit.features.extraction import extract_features
from sslkit.features.row_buffer import RowBuffer
from sslkit.testing.fake_device import DeviceSyncError, fake_device

PREPROCESSING = Preprocessing(12, (0.4,), (0.25,))
SETTINGS = TrainingSettings(2, 64, 0.1, 0.1, 0.0, (0.5, 1.0), 0.5)


@pytest.fixture(autouse=True)
def _without_the_last_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowBuffer, "finish", lambda buffer: torch.cat(buffer.pending))


def test_features_and_logits_are_copied_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslkit.features.extraction.MAX_IMAGES", 50)
    with fake_device(SmallBackbone().eval()) as (_, (backbone,)):
        images = TensorStore(torch.zeros(180, 1, 12, 12, dtype=torch.uint8))
        features = extract_features(backbone, images, PREPROCESSING)
        logits = predict_logits(backbone, images, SquareSubject.context, batch_size=50)
        assert (features.device.type, features.shape) == (logits.device.type, logits.shape) == ("cuda", (180, 8))


def test_blocks_are_copied_before_they_fill_the_memory_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_buffer, "MAX_PENDING_BYTES", 2 * 5 * 3 * 4)
    with fake_device() as (device, _):
        rows = RowBuffer(20)
        rows.add(device.tensor(torch.zeros(5, 3)))
        with pytest.raises(DeviceSyncError, match="copied to the host"):
            rows.add(device.tensor(torch.zeros(5, 3)))


@pytest.mark.parametrize("frozen", [False, True])
def test_supervised_training_waits_only_after_the_last_step_of_an_epoch(
    frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    with fake_device(SmallBackbone(), FrozenProbe(SmallBackbone(), 6)) as (_, (backbone, probe)):
        probe.frozen = [backbone.eval()]
        network = probe if frozen else backbone.train()
        parameters = list(network.parameters())

        def invent_gradients(loss: Tensor) -> None:
            steps.append(loss.shape)
            for parameter in parameters:
                parameter.grad = torch.empty_like(parameter)

        monkeypatch.setattr(Tensor, "backward", invent_gradients)
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        images = TensorStore(torch.zeros(180, 1, 12, 12, dtype=torch.uint8))
        labels = torch.zeros(180, dtype=torch.int64)
        with pytest.raises(DeviceSyncError):
            next(fit(network, optimizer, images, labels, SquareSubject.context, SETTINGS, seed=0))
    assert len(steps) == 180 // 64


def test_nearest_neighbours_are_computed_on_the_given_device_without_a_sync() -> None:
    with fake_device() as (device, _):
        bank, queries, labels = torch.zeros(40, 8), torch.zeros(30, 8), torch.zeros(40, dtype=torch.int64)
        scores = knn_scores(bank, device.tensor(labels), queries, 5, classes=6, block=10, device=torch.device("cuda"))
        assert (scores.device.type, scores.shape) == ("cuda", (30, 6))
