"""The linear probe trained as in the report, on the images of the fine-tuning test."""

from __future__ import annotations

from dataclasses import replace

import torch

from sslkit.evaluation.linear_report import LinearReport


def probe(**options: object) -> LinearReport:
    given: dict[str, object] = {"epochs": 15, "batch_size": 16, "crop_scale": (0.9, 1.0), "flip_p": 0.0, "lr": 0.5}
    given["trust_coefficient"] = 0.05
    return LinearReport(LinearReport.Options.model_validate(given | options))


def test_defaults_are_the_report_s() -> None:
    options = LinearReport.Options()
    assert (options.epochs, options.batch_size) == (100, 64)


def test_trains_the_classifier_alone_and_draws_its_curves(squares) -> None:
    subject = squares()
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    result = probe().evaluate(subject)
    assert subject.asked == {"train": 1, "validation": 1, "test": 1}
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    curves = result.figures["curves"]
    assert len(curves) == 15
    assert curves[-1]["train_loss"] < curves[0]["train_loss"]
    assert curves[-1]["train_top1"] > curves[0]["train_top1"]
    assert set(curves[0]) == {"train_loss", "train_top1", "validation_loss", "validation_top1"}
    assert result.figures["top1"] > 1 / 6 + 0.05  # features of random weights
    assert result.figures["top5"] > result.figures["top1"]
    assert result.protocol["batch_size"] == 16


def test_validation_labels_change_nothing_but_their_curves(squares) -> None:
    subject, tampered = squares(), squares()
    validation = tampered.splits["validation"]
    tampered.splits["validation"] = replace(validation, labels=validation.labels.flip(0))
    honest, other = (probe(epochs=2).evaluate(each).figures for each in (subject, tampered))
    assert honest["top1"] == other["top1"]
    assert [row["train_loss"] for row in honest["curves"]] == [row["train_loss"] for row in other["curves"]]
    assert honest["curves"] != other["curves"]
