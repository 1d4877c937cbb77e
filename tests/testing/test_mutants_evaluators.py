"""Mutants of evaluators: every conformance test fails for a component that violates it."""

from __future__ import annotations

import random
from typing import Any

import torch
from mutants import Mutants, MutantTests

import sslkit

MUTANTS = Mutants()


class ValidEvaluator(sslkit.Evaluator):
    """Valid evaluator: classification by the nearest class mean."""

    api = 2

    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        train, test = subject.features("train"), subject.features("test")
        means = torch.stack([train.features[train.labels == label].mean(0) for label in range(3)])
        right = torch.cdist(test.features, means).argmin(1) == test.labels
        return sslkit.Evaluation({"top1": float(right.float().mean())}, {"split": "test"})


@MUTANTS.fails("test_needs_are_known")
class EvaluatorWithAnUnknownNeed(ValidEvaluator):
    needs = frozenset({"labels", "test", "patience"})


@MUTANTS.fails("test_labels_that_are_not_needed_are_not_required")
class EvaluatorThatReadsLabelsWithoutNeedingThem(ValidEvaluator):
    needs = frozenset()


@MUTANTS.fails("test_metrics_are_finite_and_valid_json")
class EvaluatorWithTensorMetrics(ValidEvaluator):
    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        return sslkit.Evaluation({"top1": torch.tensor(super().evaluate(subject).metrics["top1"])}, {"split": "test"})


@MUTANTS.fails("test_metrics_are_finite_and_valid_json")
class EvaluatorWithCurvesByName(ValidEvaluator):
    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        metrics = dict(super().evaluate(subject).metrics)
        return sslkit.Evaluation(metrics | {"curves": {"train_loss": [2.0, 1.0]}}, {"split": "test"})


@MUTANTS.fails("test_the_protocol_names_the_split")
class EvaluatorWithoutProtocol(ValidEvaluator):
    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        return sslkit.Evaluation(super().evaluate(subject).metrics, {})


@MUTANTS.fails("test_the_backbone_is_unchanged")
class EvaluatorThatSetsTrainingMode(ValidEvaluator):
    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        evaluation = super().evaluate(subject)
        subject.backbone().train()
        return evaluation


@MUTANTS.fails("test_it_is_deterministic_and_uses_no_global_randomness")
class EvaluatorThatUsesGlobalRandomness(ValidEvaluator):
    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        torch.rand(1)
        return super().evaluate(subject)


@MUTANTS.fails("test_test_labels_change_no_choice")
class EvaluatorThatSelectsOnTest(ValidEvaluator):
    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        evaluation = super().evaluate(subject)
        chosen = "this" if evaluation.metrics["top1"] > 0.5 else "that"
        return sslkit.Evaluation(evaluation.metrics, {"split": "test", "chosen": chosen})


@MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")
class EvaluatorThatDrawsInItsConstructor(ValidEvaluator):
    def __init__(self, options: Any) -> None:
        super().__init__(options)
        random.random()


@MUTANTS.fails("test_features_labels_and_images_are_not_modified")
class EvaluatorThatScalesFeaturesInPlace(ValidEvaluator):
    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        evaluation = super().evaluate(subject)
        subject.features("train").features.mul_(2)
        return evaluation


class TestMutants(MutantTests):
    kind = "evaluator"
    valid = (ValidEvaluator,)
    mutants = MUTANTS
