"""Of evaluators: each promise of the kit has a mutant that breaks it, and it alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import sslkit

MUTANTS: list[tuple[str, type]] = []
"""The promise that is broken, and what breaks it."""


def breaks(promise: str) -> Callable[[type], type]:
    def remember(mutant: type) -> type:
        MUTANTS.append((promise, mutant))
        return mutant

    return remember


class GoodEvaluator(sslkit.Evaluator):
    """The nearest class mean."""

    api = 1

    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        train, test = subject.features("train"), subject.features("test")
        means = torch.stack([train.features[train.labels == label].mean(0) for label in range(3)])
        right = torch.cdist(test.features, means).argmin(1) == test.labels
        return sslkit.Evaluation({"top1": float(right.float().mean())}, {"split": "test"})


@breaks("test_what_it_needs_is_known")
class EvaluatorThatNeedsMore(GoodEvaluator):
    """Good otherwise."""

    needs = frozenset({"labels", "test", "patience"})


@breaks("test_figures_are_numbers_that_json_can_hold")
class EvaluatorOfTensors(GoodEvaluator):
    """Good otherwise."""

    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        return sslkit.Evaluation({"top1": torch.tensor(super().evaluate(subject).metrics["top1"])}, {"split": "test"})


@breaks("test_figures_are_numbers_that_json_can_hold")
class EvaluatorWithCurvesBesideEachOther(GoodEvaluator):
    """Good otherwise."""

    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        metrics = dict(super().evaluate(subject).metrics)
        return sslkit.Evaluation(metrics | {"curves": {"train_loss": [2.0, 1.0]}}, {"split": "test"})


@breaks("test_the_protocol_is_told")
class EvaluatorWithoutProtocol(GoodEvaluator):
    """Good otherwise."""

    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        return sslkit.Evaluation(super().evaluate(subject).metrics, {})


@breaks("test_it_leaves_the_backbone_as_it_was")
class EvaluatorThatTrains(GoodEvaluator):
    """Good otherwise."""

    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        found = super().evaluate(subject)
        subject.backbone().train()
        return found


@breaks("test_it_repeats_and_uses_no_global_randomness")
class EvaluatorWithNoise(GoodEvaluator):
    """Good otherwise."""

    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        torch.rand(1)
        return super().evaluate(subject)


@breaks("test_labels_of_the_test_images_choose_nothing")
class EvaluatorThatChoosesOnTest(GoodEvaluator):
    """Good otherwise."""

    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        found = super().evaluate(subject)
        chosen = "this" if found.metrics["top1"] > 0.5 else "that"
        return sslkit.Evaluation(found.metrics, {"split": "test", "chosen": chosen})


def test_what_is_good_keeps_every_promise(broken) -> None:
    assert broken("evaluator", GoodEvaluator) == {}


@pytest.mark.parametrize(("promise", "mutant"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mutant_breaks_its_promise_and_no_other(promise: str, mutant: type, broken) -> None:
    found = broken("evaluator", mutant)
    assert list(found) == [promise.removeprefix("test_").replace("_", " ")], found


def test_every_promise_has_a_mutant(promised) -> None:
    assert promised("evaluator") <= {promise for promise, _ in MUTANTS}
