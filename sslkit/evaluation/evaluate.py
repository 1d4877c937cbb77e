"""Evaluate a run with several evaluators and save the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

import sslkit
from sslkit.contracts.dataset import Dataset
from sslkit.contracts.evaluator import Evaluator
from sslkit.device.hardware import device_name
from sslkit.errors import DataError, NotSavedError
from sslkit.evaluation.run_subject import RunSubject
from sslkit.runs.evaluation_files import save_evaluation
from sslkit.runs.evaluation_result import BaselineResult, EvaluationResult, EvaluatorResult
from sslkit.runs.run import Run


def evaluate(
    run: Run,
    evaluators: Mapping[str, Evaluator],
    device: str = "cpu",
    *,
    random_baseline: bool = False,
    other: tuple[str, Dataset] | None = None,
) -> EvaluationResult:
    """Evaluate a run with each evaluator, save the result in the run folder and return it.

    Args:
        run: a finished run.
        evaluators: evaluators by name, from ``build_evaluators``.
        device: device on which features are computed.
        random_baseline: also evaluate the same network with random weights, as the baseline ``random_weights``.
        other: name and data set to evaluate on instead of the run's own, from ``build_other_dataset``.

    Returns:
        The result. Each protocol holds ``data``, ``image_size`` (at which the network receives images) and, for an
        evaluator that needs test images, ``test_data``: a checksum of these images and their labels. On other data it
        also holds ``data_options``: the options that are not their defaults.

    Raises:
        NotSavedError: the result could not be written; the error holds it.
        SslkitError: the run has not finished, or the data lack what an evaluator needs.
    """
    subject = RunSubject(run, device, other=other)
    untrained = RunSubject(run, device, untrained=True, other=other) if random_baseline else None
    for name, evaluator in evaluators.items():
        _check_needs(name, evaluator, subject)
    versions = {"device": device_name(device), "sslkit": sslkit.__version__, "torch": torch.__version__}
    result = EvaluationResult(str(run.path), versions, {})
    shared = _shared_protocol(subject, other)
    try:
        for name, evaluator in evaluators.items():
            common = shared | ({"test_data": subject.checksum("test")} if "test" in evaluator.needs else {})
            evaluation = evaluator.evaluate(subject)
            baselines = {baseline: BaselineResult(dict(metrics)) for baseline, metrics in evaluation.baselines.items()}
            own = EvaluatorResult(dict(evaluation.metrics), common | dict(evaluation.protocol), baselines)
            result.evaluators[name] = own
            if untrained is not None:
                evaluation = evaluator.evaluate(untrained)
                random_weights = BaselineResult(dict(evaluation.metrics), common | dict(evaluation.protocol))
                own.baselines["random_weights"] = random_weights
    finally:
        # Results that took hours are saved even when a later evaluator fails or is interrupted.
        cache_notes = [*subject.cache_notes, *([] if untrained is None else untrained.cache_notes)]
        result.notes.extend([*subject.notes, *dict.fromkeys(cache_notes)])
        if result.evaluators:
            _save(run, result)
    return result


def _shared_protocol(subject: RunSubject, other: tuple[str, Dataset] | None) -> dict[str, Any]:
    """Return the default protocol of every evaluator: data, image size, head and classifier."""
    network = subject.network
    protocol: dict[str, Any] = {"data": subject.data_name, "image_size": network.metadata["image_size"]}
    own = network.recipe.data
    if other is not None and (other[0], other[1].options) != (own.entry.name, own.options):
        protocol["data_options"] = other[1].options.model_dump(mode="json", exclude_defaults=True)
    if network.classes:
        protocol |= {"head": network.head_name, "classifier": network.classifier}
    return protocol


def _save(run: Run, result: EvaluationResult) -> None:
    try:
        save_evaluation(run, result)
    except OSError as error:
        path = f": {error.filename}" if error.filename else ""
        raise NotSavedError(f"the evaluation could not be saved: {error.strerror or error}{path}", result) from error


def _check_needs(name: str, evaluator: Evaluator, subject: RunSubject) -> None:
    if "test" in evaluator.needs:
        test = subject.split("test")
        if "labels" in evaluator.needs and test.labels is None:
            raise DataError(f"the {name} evaluation needs labels, but the test images have none")
