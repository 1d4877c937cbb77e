"""Evaluates a run by named evaluators, and keeps the result with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import sslkit
from sslkit.assembly.build_component import build_dataset
from sslkit.components.catalog import Catalog, Entry
from sslkit.components.importer import load_component, variant_options
from sslkit.components.kinds import find_kind
from sslkit.contracts.dataset import Dataset
from sslkit.contracts.evaluator import Evaluator
from sslkit.device.hardware import device_name
from sslkit.errors import DataError, InputError, NotSavedError, RecipeError
from sslkit.evaluation.run_subject import RunSubject
from sslkit.recipe.document import Document
from sslkit.recipe.load import load_recipe
from sslkit.recipe.option_problems import suggestion, validate_table
from sslkit.recipe.overrides import override
from sslkit.runs.evaluation_files import save_evaluation
from sslkit.runs.evaluation_result import BaselineResult, EvaluationResult, EvaluatorResult
from sslkit.runs.run import Run


def build_evaluators(asked: Mapping[str, Mapping[str, Any]], settings: Sequence[str] = ()) -> dict[str, Evaluator]:
    """Evaluators by name.

    Args:
        asked: options by evaluator, such as ``{"cluster": {}, "linear": {"fractions": [0.1]}}``; names may be
            qualified, as in ``sslkit:cluster``; those of one evaluator are joined.
        settings: ``evaluator.option=value`` each, over these options.

    Raises:
        ComponentError: an evaluator is not installed, or broken.
        InputError: two evaluators of one name.
        RecipeError: every option that cannot be used.
    """
    catalog = Catalog.scan()
    entries: dict[str, Entry] = {}
    given: dict[str, dict[str, Any]] = {}
    for name, options in asked.items():
        entry = catalog.find(find_kind("evaluator"), name)
        if entries.setdefault(entry.name, entry) != entry:
            raise InputError(f"two evaluators are called {entry.name!r}, as are their metrics: use one after the other")
        given[entry.name] = given.get(entry.name, {}) | dict(options)
    document = Document(given, source="sslkit eval")
    override(document, settings)
    problems = [
        document.problem((name,), "this evaluation was not asked for", suggestion(name, list(entries)))
        for name in document.tables
        if name not in entries
    ]
    built: dict[str, Evaluator] = {}
    for name, entry in entries.items():
        component: Any = load_component(entry)
        valid = validate_table(
            component.Options, variant_options(entry, component) | _table(document, name), (name,), document
        )
        if isinstance(valid, list):
            problems += valid
        else:
            built[name] = component(valid)
    if problems:
        raise RecipeError(problems, "the evaluation's options")
    return built


def _table(document: Document, name: str) -> dict[str, Any]:
    table = document.tables[name]
    if not isinstance(table, dict):
        message = f"must be a table of options, not {table!r}"
        raise RecipeError([document.problem((name,), message, f"set one option, as in {name}.OPTION=VALUE")])
    return table


def build_other_dataset(asked: str, settings: Sequence[str] = ()) -> tuple[str, Dataset]:
    """A data set to evaluate on that is not the run's own, with its name.

    Args:
        asked: the name of a data set, or a recipe (a path that ends in ``.toml``) whose ``[data]`` is meant.
        settings: ``data.option=value`` each.

    Raises:
        ComponentError: no such data set is installed, or it is broken.
        RecipeError: every option that cannot be used.
    """
    if asked.endswith(".toml"):
        recipe = load_recipe(Path(asked), settings)
        return recipe.data.entry.name, build_dataset(recipe)
    entry = Catalog.scan().find(find_kind("dataset"), asked)
    document = Document({"data": {}}, source="sslkit eval")
    override(document, settings)
    component: Any = load_component(entry)
    options = validate_table(
        component.Options, variant_options(entry, component) | _table(document, "data"), ("data",), document
    )
    if isinstance(options, list):
        raise RecipeError(options, "the data set's options")
    return entry.name, component(options)


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
    shared = _common_protocol(subject, other)
    try:
        for name, evaluator in evaluators.items():
            common = shared | ({"test_data": subject.digest("test")} if "test" in evaluator.needs else {})
            evaluation = evaluator.evaluate(subject)
            baselines = {baseline: BaselineResult(dict(metrics)) for baseline, metrics in evaluation.baselines.items()}
            own = EvaluatorResult(dict(evaluation.metrics), common | dict(evaluation.protocol), baselines)
            result.evaluators[name] = own
            if untrained is not None:
                evaluation = evaluator.evaluate(untrained)
                floor = BaselineResult(dict(evaluation.metrics), common | dict(evaluation.protocol))
                own.baselines["random_weights"] = floor
    finally:
        # Results that took hours are saved even when a later evaluator fails or is interrupted.
        cache_notes = [*subject.cache_notes, *([] if untrained is None else untrained.cache_notes)]
        result.notes.extend([*subject.notes, *dict.fromkeys(cache_notes)])
        if result.evaluators:
            _save(run, result)
    return result


def _common_protocol(subject: RunSubject, other: tuple[str, Dataset] | None) -> dict[str, Any]:
    """What every evaluator's protocol tells, unless it says otherwise: the data, and how the run looks at them."""
    told: dict[str, Any] = {"data": subject.data_name}
    told["image_size"] = subject.metadata["image_size"]
    own = subject.recipe.data
    if other is not None and (other[0], other[1].options) != (own.entry.name, own.options):
        told["data_options"] = other[1].options.model_dump(mode="json", exclude_defaults=True)
    if subject.head is not None and subject.head.classifiers:
        told |= {"head": subject.head_name, "classifier": subject.classifier}
    return told


def _save(run: Run, result: EvaluationResult) -> None:
    try:
        save_evaluation(run, result)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise NotSavedError(f"the metrics could not be saved: {error.strerror or error}{where}", result) from error


def _check_needs(name: str, evaluator: Evaluator, subject: RunSubject) -> None:
    if "test" in evaluator.needs:
        test = subject.split("test")
        if "labels" in evaluator.needs and test.labels is None:
            raise DataError(f"the {name} evaluation needs labels, but the test images have none")
