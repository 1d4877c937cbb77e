"""The linear probe trained by SGD."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from evaluation_subjects import SquareSubject

from sslkit.contracts.preprocessing import Preprocessing
from sslkit.evaluation.evaluators import linear_sgd
from sslkit.evaluation.evaluators.linear_sgd import LinearSgd
from sslkit.optimizers.lars import LarsSgd
from sslkit.views.preprocess import preprocess


def probe(**options: object) -> LinearSgd:
    given: dict[str, object] = {"epochs": 15, "batch_size": 16, "crop_scale": (0.9, 1.0), "flip_p": 0.0, "lr": 0.5}
    given["trust_coefficient"] = 0.05
    return LinearSgd(LinearSgd.Options.model_validate(given | options))


def test_the_defaults_are_those_of_report_a_and_of_the_authors_linear_evaluation() -> None:
    options = LinearSgd.Options()
    assert (options.epochs, options.batch_size, options.trust_coefficient) == (100, 64, 0.001)
    assert options.lr == pytest.approx(0.8 * 64 / 4096)
    assert (options.crop_scale, options.flip_p) == ((0.08, 1.0), 0.5)


def test_only_the_classifier_is_trained_and_its_curves_are_recorded() -> None:
    subject = SquareSubject()
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    result = probe().evaluate(subject)
    assert subject.requests == {"train": 1, "validation": 1, "test": 1}
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    curves = result.metrics["curves"]
    assert len(curves) == 15
    assert curves[-1]["train_loss"] < curves[0]["train_loss"]
    assert curves[-1]["train_top1"] > curves[0]["train_top1"]
    assert set(curves[0]) == {"train_loss", "train_top1", "validation_loss", "validation_top1"}
    assert result.metrics["top1"] > 1 / 6 + 0.05  # features of a network with random weights
    assert result.metrics["top5"] > result.metrics["top1"]
    assert result.protocol["batch_size"] == 16


def test_validation_labels_change_only_their_curves() -> None:
    subject, changed = SquareSubject(), SquareSubject()
    validation = changed.splits["validation"]
    changed.splits["validation"] = replace(validation, labels=validation.labels.flip(0))
    original, other = (probe(epochs=2).evaluate(each).metrics for each in (subject, changed))
    assert original["top1"] == other["top1"]
    assert [row["train_loss"] for row in original["curves"]] == [row["train_loss"] for row in other["curves"]]
    assert original["curves"] != other["curves"]


def test_without_validation_curves_no_labelled_image_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[int, list[int]]] = []
    original = linear_sgd.fit

    def recording(probe: object, optimizer: object, images: object, labels: torch.Tensor, *rest: object) -> object:
        trained.append((len(images), labels.tolist()))
        return original(probe, optimizer, images, labels, *rest)

    monkeypatch.setattr(linear_sgd, "fit", recording)
    subject = SquareSubject()
    held_out = probe(epochs=1).evaluate(subject)
    result = probe(epochs=1, validation_curves=False).evaluate(subject)
    train, validation = subject.splits["train"].labels.tolist(), subject.splits["validation"].labels.tolist()
    assert trained == [(180, train), (216, train + validation)]
    assert (held_out.protocol["train_images"], result.protocol["train_images"]) == (180, 216)
    assert [set(row) for row in result.metrics["curves"]] == [{"train_loss", "train_top1"}]


def test_the_optimizer_is_that_of_the_protocol_and_validation_batches_have_256_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[tuple[float, list[tuple[float, float, float, bool]]]] = []
    batches: list[int | None] = []
    original_step, original_predict = LarsSgd.step, linear_sgd.predict_logits

    def step(self: LarsSgd, *arguments: object) -> object:
        groups = [(g["momentum"], g["weight_decay"], g["trust_coefficient"], g["adapt"]) for g in self.param_groups]
        steps.append((self.param_groups[0]["lr"], groups))
        return original_step(self, *arguments)

    def recording(network: torch.nn.Module, images: object, context: object, *batch: int) -> torch.Tensor:
        batches.append(batch[0] if batch else None)
        return original_predict(network, images, context, *batch)

    monkeypatch.setattr(LarsSgd, "step", step)
    monkeypatch.setattr(linear_sgd, "predict_logits", recording)
    probe(epochs=2, batch_size=45, lr=0.4).evaluate(SquareSubject())
    assert [rate for rate, _ in steps] == pytest.approx([0.4 * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)])
    assert all(groups == [(0.9, 0.0, 0.05, True)] for _, groups in steps), "weight and bias, as in the authors' code"
    assert batches == [256, 256, None]


def test_only_training_images_are_augmented(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    subject = SquareSubject()
    original = subject.network.forward

    def forward(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.clone())
        return original(images)

    monkeypatch.setattr(subject.network, "forward", forward)
    probe(epochs=2, batch_size=180, crop_scale=(0.2, 0.5), flip_p=0.5).evaluate(subject)
    first, validation, second, again, test = seen
    assert (len(first), len(validation), len(test)) == (180, 36, 120)
    assert torch.equal(validation, again)
    images, context = subject.split("test").images, subject.context
    expected = preprocess(images.gather(torch.arange(120)), Preprocessing(12, context.mean, context.std))
    torch.testing.assert_close(test, expected)
    assert not torch.equal(first.sort(0).values, second.sort(0).values), "the same crops in both epochs"
