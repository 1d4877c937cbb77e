"""The linear probe trained as in the report, on the images of the fine-tuning test."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sslkit.evaluation.evaluators import linear_sgd as linear_report
from sslkit.evaluation.evaluators.linear_sgd import LinearSgd
from sslkit.optimizers.lars import LarsSgd
from sslkit.views.preprocess import preprocess


def probe(**options: object) -> LinearSgd:
    given: dict[str, object] = {"epochs": 15, "batch_size": 16, "crop_scale": (0.9, 1.0), "flip_p": 0.0, "lr": 0.5}
    given["trust_coefficient"] = 0.05
    return LinearSgd(LinearSgd.Options.model_validate(given | options))


def test_defaults_are_the_report_s() -> None:
    options = LinearSgd.Options()
    assert (options.epochs, options.batch_size) == (100, 64)


def test_trains_the_classifier_alone_and_draws_its_curves(squares) -> None:
    subject = squares()
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    result = probe().evaluate(subject)
    assert subject.asked == {"train": 1, "validation": 1, "test": 1}
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    curves = result.metrics["curves"]
    assert len(curves) == 15
    assert curves[-1]["train_loss"] < curves[0]["train_loss"]
    assert curves[-1]["train_top1"] > curves[0]["train_top1"]
    assert set(curves[0]) == {"train_loss", "train_top1", "validation_loss", "validation_top1"}
    assert result.metrics["top1"] > 1 / 6 + 0.05  # features of random weights
    assert result.metrics["top5"] > result.metrics["top1"]
    assert result.protocol["batch_size"] == 16


def test_validation_labels_change_nothing_but_their_curves(squares) -> None:
    subject, tampered = squares(), squares()
    validation = tampered.splits["validation"]
    tampered.splits["validation"] = replace(validation, labels=validation.labels.flip(0))
    honest, other = (probe(epochs=2).evaluate(each).metrics for each in (subject, tampered))
    assert honest["top1"] == other["top1"]
    assert [row["train_loss"] for row in honest["curves"]] == [row["train_loss"] for row in other["curves"]]
    assert honest["curves"] != other["curves"]


def test_the_optimizer_is_the_protocol_s_and_validation_comes_in_batches_of_256(
    squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[float, list[tuple[float, float, float, bool]]]] = []
    batches: list[int | None] = []
    honest, predicted = LarsSgd.step, linear_report.predict_logits

    def step(self: LarsSgd, *arguments: object) -> object:
        groups = [(g["momentum"], g["weight_decay"], g["trust_coefficient"], g["adapt"]) for g in self.param_groups]
        steps.append((self.param_groups[0]["lr"], groups))
        return honest(self, *arguments)

    def spied(network: torch.nn.Module, images: object, context: object, *batch: int) -> torch.Tensor:
        batches.append(batch[0] if batch else None)
        return predicted(network, images, context, *batch)

    monkeypatch.setattr(LarsSgd, "step", step)
    monkeypatch.setattr(linear_report, "predict_logits", spied)
    probe(epochs=2, batch_size=45, lr=0.4).evaluate(squares())
    assert [rate for rate, _ in steps] == pytest.approx([0.4 * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)])
    assert all(groups == [(0.9, 0.0, 0.05, True), (0.9, 0.0, 0.05, False)] for _, groups in steps)
    assert batches == [256, 256, None]


def test_training_images_are_cropped_and_mirrored_and_the_others_are_not(
    squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    subject = squares()
    honest = subject.network.forward

    def forward(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.clone())
        return honest(images)

    monkeypatch.setattr(subject.network, "forward", forward)
    probe(epochs=2, batch_size=180, crop_scale=(0.2, 0.5), flip_p=0.5).evaluate(subject)
    first, validation, second, again, test = seen
    assert (len(first), len(validation), len(test)) == (180, 36, 120)
    assert torch.equal(validation, again)
    images, context = subject.split("test").images, subject.context
    torch.testing.assert_close(test, preprocess(images.gather(torch.arange(120)), 12, context.mean, context.std))
    assert not torch.equal(first.sort(0).values, second.sort(0).values), "the same crops in both epochs"
