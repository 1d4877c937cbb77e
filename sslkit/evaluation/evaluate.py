"""Evaluate a run with one or more evaluators and save the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

import sslkit
from sslkit.contracts.dataset import Dataset
from sslkit.contracts.evaluator import Evaluator
from sslkit.device.hardware import device_name
from sslkit.errors import DataError, IncompatibleComponentError, NotSavedError
from sslkit.evaluation.run_subject import RunSubject
from sslkit.runs.evaluation_files import save_evaluation
from sslkit.runs.evaluation_result import BaselineResult, EvaluationResult, EvaluatorResult
from sslkit.runs.returned_evaluation import evaluator_result
from sslkit.runs.run import Run

RANDOM_WEIGHTS = "random_weights"
"""Name of the baseline that sslkit measures for all evaluators."""


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
        evaluators: mapping from name to evaluator, from ``build_evaluators``.
        device: device on which features are computed.
        random_baseline: whether to also evaluate the network with random weights, as the baseline ``random_weights``.
        other: name and data set to evaluate on instead of the run's own data set, from ``build_other_dataset``.

    Returns:
        The result. sslkit adds these keys to the protocol of each evaluator:

        - ``data``: name of the data set
        - ``image_size``: side of the images in pixels, after preprocessing
        - ``test_data``, if the evaluator needs test images: checksum of the test images and their labels
        - ``data_options``, if the data set is not the run's own: options that differ from their defaults
        - ``head`` and ``classifier``, if the network has a classifier

    Raises:
        NotSavedError: the result could not be written; the exception has an attribute ``result``.
        IncompatibleComponentError: an evaluator returns a value that cannot be saved as JSON.
        SslkitError: the run has not finished, or the data set does not have what an evaluator needs.
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
            result.evaluators[name] = own = _evaluate(name, evaluator, subject, common)
            if untrained is not None:
                random = _evaluate(name, evaluator, untrained, common)
                own.baselines[RANDOM_WEIGHTS] = BaselineResult(random.metrics, random.protocol)
    finally:
        # Results that took hours are saved even when a later evaluator fails or is interrupted.
        cache_notes = [*subject.network.frozen.notes, *([] if untrained is None else untrained.network.frozen.notes)]
        result.notes.extend([*subject.notes, *dict.fromkeys(cache_notes)])
        if result.evaluators:
            _save(run, result)
    return result


def _shared_protocol(subject: RunSubject, other: tuple[str, Dataset] | None) -> dict[str, Any]:
    """Return the protocol keys that all evaluators share: data, image size, head and classifier."""
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
        subject.split("test")
    if "labels" not in evaluator.needs:
        return
    usable = ("test",) if "test" in evaluator.needs else ("train", "validation")
    splits = [split for split in usable if split in subject.dataset.splits]
    if all(subject.split(split).labels is None for split in splits):
        raise DataError(
            f"the {name} evaluation needs labels, but the {' and '.join(splits)} images of {subject.data_name!r} have "
            "none"
        )


def _evaluate(name: str, evaluator: Evaluator, subject: RunSubject, protocol: Mapping[str, Any]) -> EvaluatorResult:
    returned = evaluator.evaluate(subject)
    try:
        result = evaluator_result(returned, protocol)
        if RANDOM_WEIGHTS in result.baselines:
            raise ValueError(f"baselines[{RANDOM_WEIGHTS!r}] is reserved for the option --baseline random: rename it")
    except ValueError as error:
        raise IncompatibleComponentError(
            f"the evaluator {name!r} returned a result that cannot be saved: {error}"
        ) from error
    return result
