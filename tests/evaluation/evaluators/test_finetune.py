"""The fine-tuning evaluator."""

from __future__ import annotations

import math

import pytest
import torch
from evaluation_subjects import SquareSubject

from sslkit.data.label_subsets import nested_subsets
from sslkit.data.store import ConcatStore, SubsetStore, TensorStore
from sslkit.evaluation import supervised_training
from sslkit.evaluation.evaluators.finetune import Finetune
from sslkit.evaluation.supervised_training import TrainingSettings, train_classifier


def finetune(**options: object) -> Finetune:
    given = {
        "epochs": 12,
        "min_steps": 0,
        "batch_size": 32,
        "crop_scale": (0.9, 1.0),
        "flip_p": 0.0,
        "lr_backbones": (0.05,),
    }
    return Finetune(Finetune.Options.model_validate(given | options))


def test_it_learns_and_repeats_exactly_and_the_run_s_network_is_unchanged() -> None:
    subject = SquareSubject()
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    result = finetune(fractions=(0.1, 1.0), seeds=2).evaluate(subject)
    assert result.protocol["trainings"] == {"0.1": 2, "1": 1}
    assert "seeds" not in result.protocol
    assert subject.requests == {"train": 1, "validation": 1, "test": 1}
    few = result.metrics["fractions"]["0.1"]
    assert 1 / 6 < few["top1"] < result.metrics["top1"]
    assert result.metrics["top1"] > 0.8
    assert few["top1_std"] >= 0
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in subject.network.parameters())
    assert finetune(fractions=(0.1, 1.0), seeds=2).evaluate(SquareSubject()).metrics == result.metrics


def test_the_learning_rate_is_chosen_on_the_fraction_s_own_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = SquareSubject()
    labels = torch.cat([subject.split("train").labels, subject.split("validation").labels])
    few = nested_subsets(labels, [0.6], subject.seed)[0.6]
    trainings: list[tuple[float, list[int]]] = []

    def recording(backbone, images, targets, classes, context, settings, seed):
        store, indices = images, torch.arange(len(images))
        while isinstance(store, SubsetStore):
            store, indices = store.images, store.indices[indices]
        assert torch.equal(targets, labels[indices])
        trainings.append((settings.lr_backbone, indices.tolist()))
        return train_classifier(backbone, images, targets, classes, context, settings, seed)

    monkeypatch.setattr("sslkit.evaluation.evaluators.finetune.train_classifier", recording)
    result = finetune(fractions=(0.6,), lr_backbones=(1e-9, 0.05)).evaluate(subject)
    (slow, slow_images), (fast, fast_images), (best, all_images) = trainings
    assert (slow, fast, best) == (1e-9, 0.05, 0.05)
    assert slow_images == fast_images
    assert sorted(all_images) == sorted(few.tolist())
    assert set(slow_images) < set(all_images)
    assert len(all_images) - len(slow_images) == pytest.approx(len(few) / 5, abs=len(labels.unique()))
    assert result.protocol["lr_backbone_chosen"] == {"0.6": [0.05]}
    assert result.protocol["lr_backbones"] == [1e-9, 0.05]


def test_an_untrained_network_chooses_among_the_same_learning_rates() -> None:
    both = finetune(lr_backbones=(1e-9, 0.05))
    result = both.evaluate(SquareSubject(untrained=True))
    assert result.protocol["lr_backbone_chosen"] == {"1": [0.05]}
    single = finetune(lr_backbones=(1e-9,)).evaluate(SquareSubject(untrained=True))
    assert single.protocol["lr_backbone_chosen"] == {"1": [1e-9]}
    assert single.protocol["lr_backbone_chosen_on"] == "nothing: a single rate was given"
    assert result.protocol["lr_backbone_chosen_on"].startswith("a fifth of the fraction's labels")
    assert result.metrics["top1"] > single.metrics["top1"]


def test_single_images_of_a_class_are_not_held_out() -> None:
    result = finetune(fractions=(1e-6,), lr_backbones=(0.03, 0.05), epochs=1).evaluate(SquareSubject())
    assert result.protocol["lr_backbone_chosen"] == {"1e-06": [0.03]}


def test_fractions_with_equal_subsets_are_named() -> None:
    result = finetune(fractions=(1e-6, 1e-5), lr_backbones=(0.05,), epochs=1, min_steps=0).evaluate(SquareSubject())
    assert result.protocol["same_labels_as"] == {"1e-06": "1e-05", "1e-05": "1e-06"}
    assert result.metrics["fractions"]["1e-06"] == result.metrics["fractions"]["1e-05"]


def test_few_labels_increase_the_epochs() -> None:
    subject = SquareSubject()
    labels = torch.cat([subject.split("train").labels, subject.split("validation").labels])
    few, steps = len(nested_subsets(labels, [0.1], 0)[0.1]), len(labels) // 8
    result = finetune(fractions=(0.1, 1.0), epochs=1, batch_size=8, min_steps=steps).evaluate(subject)
    assert result.protocol["epochs"] == {"0.1": math.ceil(steps / (few // 8)), "1": 1}
    assert result.protocol["epochs"]["0.1"] > 5
    assert result.protocol["min_steps"] == steps


def test_backbone_and_classifier_have_their_own_learning_rate_and_only_weights_decay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optimizers: list[torch.optim.Optimizer] = []
    monkeypatch.setattr(
        supervised_training, "fit", lambda network, optimizer, *_: optimizers.append(optimizer) or iter(())
    )
    subject = SquareSubject()
    part = subject.split("train")
    settings = TrainingSettings(1, 8, 0.01, 0.05, 5e-4, (0.9, 1.0), 0.0)
    train_classifier(subject.network, part.images, part.labels, 6, subject.context, settings, 0)
    groups = [(group["lr"], group["weight_decay"]) for group in optimizers[0].param_groups]
    assert groups == [(0.01, 5e-4), (0.01, 0.0), (0.05, 5e-4), (0.05, 0.0)]


def test_the_optimizer_is_that_of_the_protocol_and_test_images_are_predicted_in_eval_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates: list[float] = []
    kinds: set[tuple[float, bool]] = set()
    original = torch.optim.SGD.step

    def step(self: torch.optim.SGD, *arguments: object) -> object:
        group = self.param_groups[-1]
        rates.append(group["lr"])
        kinds.add((group["momentum"], group["nesterov"]))
        return original(self, *arguments)

    modes: list[bool] = []

    def recording(network: torch.nn.Module, *rest: object) -> torch.Tensor:
        modes.append(any(part.training for part in network.modules()))
        return supervised_training.predict_logits(network, *rest)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    monkeypatch.setattr("sslkit.evaluation.evaluators.finetune.predict_logits", recording)
    finetune(epochs=2, batch_size=54, lr_head=0.5).evaluate(SquareSubject())
    assert rates == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)])
    assert kinds == {(0.9, True)}
    assert modes == [False]


def test_joined_stores_keep_their_order() -> None:
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    joined = ConcatStore(TensorStore(images[:4]), TensorStore(images[4:]))
    assert len(joined) == 10
    assert joined.shape == (1, 1, 1)
    assert joined.gather(torch.tensor([9, 0, 4, 3])).flatten().tolist() == [9, 0, 4, 3]
