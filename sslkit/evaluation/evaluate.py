"""Evaluate a run with one or more evaluators and save the result."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import torch

import sslkit
from sslkit.contracts.dataset import Dataset
from sslkit.contracts.evaluator import Evaluator
from sslkit.device.hardware import device_name
from sslkit.errors import DataError, IncompatibleComponentError, NotSavedError
from sslkit.evaluation.run_subject import RunSubject
from sslkit.runs.evaluation_files import save_evaluation
from sslkit.runs.evaluation_result import (
    PRETRAINED_WEIGHTS,
    RANDOM_WEIGHTS,
    BaselineResult,
    EvaluationResult,
    EvaluatorResult,
)
from sslkit.runs.provenance_file import trained_with_corrections
from sslkit.runs.returned_evaluation import evaluator_result
from sslkit.runs.run import Run

Baseline = Literal["random", "pretrained"]
"""Network that is evaluated as a baseline."""

RESERVED = {RANDOM_WEIGHTS: "random", PRETRAINED_WEIGHTS: "pretrained"}
"""Option of each baseline that sslkit measures for all evaluators."""

NO_HEAD = "none: these weights have no head"
"""Value of ``head`` in the protocol of weights without a head."""


def evaluate(
    run: Run,
    evaluators: Mapping[str, Evaluator],
    device: str = "cpu",
    *,
    baselines: Collection[Baseline] = (),
    other: tuple[str, Dataset] | None = None,
) -> EvaluationResult:
    """Evaluate a run with each evaluator, save the result in the run folder and return it.

    Args:
        run: a finished run.
        evaluators: mapping from name to evaluator, from ``build_evaluators``.
        device: device on which features are computed.
        baselines: networks to evaluate for comparison. ``random`` adds the network with random weights, as the
            baseline ``random_weights``; ``pretrained`` adds the network with the weights that training started from,
            as the baseline ``pretrained_weights``.
        other: name and data set to evaluate on instead of the run's own data set, from ``build_other_dataset``.

    Returns:
        The result. sslkit adds these keys to the protocol of each evaluator:

        - ``data``: name of the data set
        - ``image_size``: side of the images in pixels, after preprocessing
        - ``seed``: seed of the run, which also determines the validation images and the subsets of labels
        - ``test_data``, if the evaluator needs test images: checksum of the test images and their labels
        - ``data_options``, if the data set is not the run's own: options that differ from their defaults
        - ``head`` and ``classifier``, if the network has a classifier
        - ``trained_with_corrections``, if the head was trained with a user's corrections: number of corrected images
        - ``weights``, for the baseline ``pretrained_weights``: the origin of the weights

    Raises:
        NotSavedError: the result could not be written; the exception has an attribute ``result``.
        IncompatibleComponentError: an evaluator returns a value that cannot be saved as JSON.
        InputError: the baseline ``pretrained`` is requested, but training started from random weights.
        SslkitError: the run has not finished, or the data set does not have what an evaluator needs.
    """
    subject = RunSubject(run, device, other=other)
    random = RunSubject(run, device, weights="random", other=other) if "random" in baselines else None
    start = RunSubject(run, device, weights="start", other=other) if "pretrained" in baselines else None
    for name, evaluator in evaluators.items():
        _check_needs(name, evaluator, subject)
    versions = {"device": device_name(device), "sslkit": sslkit.__version__, "torch": torch.__version__}
    result = EvaluationResult(str(run.path), versions, {})
    try:
        for name, evaluator in evaluators.items():
            own = _evaluate(name, evaluator, subject, other)
            result.evaluators[name] = own
            if random is not None:
                untrained = _evaluate(name, evaluator, random, other)
                own.baselines[RANDOM_WEIGHTS] = BaselineResult(untrained.metrics, untrained.protocol)
            if start is not None:
                before = _evaluate(name, evaluator, start, other)
                own.baselines[PRETRAINED_WEIGHTS] = BaselineResult(before.metrics, before.protocol)
    finally:
        # Results that took hours are saved even when a later evaluator fails or is interrupted.
        notes = [note for each in (subject, random, start) if each is not None for note in each.network.frozen.notes]
        result.notes.extend([*subject.notes, *dict.fromkeys(notes)])
        if result.evaluators:
            _save(run, result)
    return result


def _common_protocol(subject: RunSubject, evaluator: Evaluator, other: tuple[str, Dataset] | None) -> dict[str, Any]:
    """Return the keys that sslkit adds to the protocol of each evaluator; ``evaluate`` lists them."""
    network = subject.network
    protocol: dict[str, Any] = {"data": subject.data_name, "image_size": network.metadata["image_size"]}
    protocol["seed"] = subject.seed
    own = network.recipe.data
    if other is not None and (other[0], other[1].options) != (own.entry.name, own.options):
        protocol["data_options"] = other[1].options.model_dump(mode="json", exclude_defaults=True)
    if network.classes:
        protocol |= {"head": network.head_name, "classifier": network.classifier}
    if corrected_images := trained_with_corrections(network.run):
        protocol["trained_with_corrections"] = corrected_images
    if network.origin:
        protocol |= {"weights": network.origin} | ({} if network.head else {"head": NO_HEAD})
    return protocol | ({"test_data": subject.checksum("test")} if "test" in evaluator.needs else {})


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


def _evaluate(
    name: str, evaluator: Evaluator, subject: RunSubject, other: tuple[str, Dataset] | None
) -> EvaluatorResult:
    returned = evaluator.evaluate(subject)
    try:
        result = evaluator_result(returned, _common_protocol(subject, evaluator, other))
        if reserved := RESERVED.keys() & result.baselines.keys():
            baseline = min(reserved)
            raise ValueError(
                f"baselines[{baseline!r}] is reserved for the option --baseline {RESERVED[baseline]}: rename it"
            )
    except ValueError as error:
        raise IncompatibleComponentError(
            f"the evaluator {name!r} returned a result that cannot be saved: {error}"
        ) from error
    return result
