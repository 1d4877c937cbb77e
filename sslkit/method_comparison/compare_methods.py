"""Train and evaluate several methods on one data set with the same budget."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sslkit
from sslkit.components.catalog import Catalog
from sslkit.device.hardware import choose_hardware
from sslkit.errors import SslkitError
from sslkit.files import to_json, write_atomic
from sslkit.method_comparison.accuracies import EVALUATORS, evaluate_once
from sslkit.method_comparison.budget import Budget
from sslkit.method_comparison.candidates import Candidate, SharedSettings
from sslkit.method_comparison.chart import save_chart
from sslkit.method_comparison.comparison_data import ComparisonData
from sslkit.method_comparison.curves import read_history
from sslkit.method_comparison.failures import describe_failure, failure_reason
from sslkit.method_comparison.plan import Plan, Plans
from sslkit.method_comparison.result import Comparison, MethodResult, RunResult, State, sort_methods, to_csv
from sslkit.method_comparison.training import complete_run
from sslkit.method_comparison.verdict import verdict
from sslkit.recipe.recipe import Recipe
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import Run
from sslkit.training.events import Reporter


@dataclass(frozen=True)
class Request:
    """What to compare.

    Attributes:
        candidates: the methods.
        shared: settings of all methods.
        budget: amount of training that each method gets.
        seeds: seeds; each method is trained with each of them.
        runs: the folder of all runs.
        folder: folder of the comparison, for plans and results.
    """

    candidates: Sequence[Candidate]
    shared: SharedSettings
    budget: Budget
    seeds: Sequence[int]
    runs: Path
    folder: Path


@dataclass
class _Method:
    """State of a method: its recipe and plan, the results of its runs so far, and why it failed, if it did."""

    candidate: Candidate
    recipe: Recipe | None = None
    plan: Plan | None = None
    failure: str = ""


def compare_methods(request: Request, new_reporter: Callable[[], Reporter], say: Callable[[str], None]) -> Comparison:
    """Train and evaluate each method with each seed, write the results and return them.

    Test images are used only after the last training run. A method that fails is a row of the result. Finished runs are
    reused, and interrupted runs continue.

    Args:
        request: what to compare.
        new_reporter: function that returns a receiver of the progress events of a training run.
        say: receives messages between training runs.

    Raises:
        SslkitError: no recipe can be loaded, or the data set cannot be used.
        KeyboardInterrupt: the user interrupted; the same request continues.
    """
    catalog = Catalog.scan()
    methods = _load(request, catalog)
    data = ComparisonData(next(method.recipe for method in methods if method.recipe is not None))
    _plan(request, methods, data, say)
    results = _train(request, methods, catalog, data, new_reporter, say)
    results = _evaluate(request, methods, results, data, say)
    return _finish(request, methods, results, data)


def _load(request: Request, catalog: Catalog) -> list[_Method]:
    """Load each method's recipe. If all fail, raise the first error: the cause is probably a shared setting."""
    methods, errors = [], []
    for candidate in request.candidates:
        method = _Method(candidate)
        try:
            method.recipe = request.shared.load(candidate, request.seeds[0], catalog)
        except SslkitError as error:
            method.failure = describe_failure(error)
            errors.append(error)
        methods.append(method)
    if len(errors) == len(methods):
        raise errors[0]
    return methods


def _plan(request: Request, methods: Sequence[_Method], data: ComparisonData, say: Callable[[str], None]) -> None:
    plans = Plans(request.folder)
    minutes = []
    for method in methods:
        name = method.candidate.name
        if method.recipe is not None:
            try:
                method.plan = plans.get(method.recipe, request.budget, data.checksum)
            except Exception as error:
                method.failure = failure_reason(error, request.folder, name)
        if method.plan is None:
            say(f"{name} fails: {method.failure}")
            continue
        steps, expected = method.plan.length.steps, method.plan.minutes
        time = f", about {expected:.2g} minutes" if expected is not None else ""
        say(f"{name}: {steps} steps of {method.plan.batch_size} images{time}")
        minutes += [expected * len(request.seeds)] if expected is not None else []
    if minutes:
        say(f"all runs: about {sum(minutes):.2g} minutes of training steps, and evaluation in addition")


def _train(
    request: Request,
    methods: Sequence[_Method],
    catalog: Catalog,
    data: ComparisonData,
    new_reporter: Callable[[], Reporter],
    say: Callable[[str], None],
) -> dict[tuple[str, int], RunResult]:
    """Train all methods with the first seed, then with the next, so that interrupted comparisons stay comparable."""
    results: dict[tuple[str, int], RunResult] = {}
    tasks = [(seed, method) for seed in request.seeds for method in methods]
    for number, (seed, method) in enumerate(tasks, 1):
        name = method.candidate.name
        if method.plan is None:
            results[name, seed] = RunResult(seed, "", "failed", method.failure)
            continue
        say(f"run {number} of {len(tasks)}: {name}, seed {seed}")
        try:
            recipe = request.shared.load(method.candidate, seed, catalog, method.plan.length)
            run = complete_run(recipe, request.runs, data.checksum, new_reporter(), say)
            history = read_history(run, method.plan)
            state: State = "collapsed" if history.collapse else "finished"
            results[name, seed] = RunResult(
                seed, str(run.path), state, history.collapse, history, hardware=_hardware(run)
            )
        except Exception as error:
            reason = failure_reason(error, request.folder, name)
            say(f"{name} fails: {reason}")
            results[name, seed] = RunResult(seed, "", "failed", reason)
        gc.collect()
    return results


def _evaluate(
    request: Request,
    methods: Sequence[_Method],
    results: dict[tuple[str, int], RunResult],
    data: ComparisonData,
    say: Callable[[str], None],
) -> dict[tuple[str, int], RunResult]:
    """Evaluate each finished run once."""
    devices = [method.recipe.train.device for method in methods if method.recipe is not None]
    device = choose_hardware(devices[0], "auto").device
    evaluated = {}
    for (name, seed), result in results.items():
        if result.history is not None:
            try:
                result = replace(result, accuracies=evaluate_once(Run(Path(result.run)), data.name, device, say))
            except Exception as error:
                reason = failure_reason(error, request.folder, name)
                result = replace(result, state="failed", reason=f"evaluation failed: {reason}")
        evaluated[name, seed] = result
    return evaluated


def _finish(
    request: Request, methods: Sequence[_Method], results: dict[tuple[str, int], RunResult], data: ComparisonData
) -> Comparison:
    """Return the comparison, and write its table and its chart."""
    own_views = _own_views(methods)
    rows = [
        MethodResult(
            method.candidate.name,
            str(method.candidate.recipe),
            method.plan,
            own_views.get(method.candidate.name, {}),
            request.shared.changes(method.candidate),
            tuple(results[method.candidate.name, seed] for seed in request.seeds),
        )
        for method in methods
    ]
    ranked = sort_methods(rows)
    folder = request.folder
    files = {"json": str(folder / "comparison.json"), "csv": str(folder / "comparison.csv")}
    files |= save_chart(ranked, request.budget, folder)
    comparison = Comparison(ranked, _protocol(request, methods, ranked, data), verdict(ranked, data.test_images), files)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "comparison.json", to_json(comparison.to_json()))
    write_atomic(folder / "comparison.csv", to_csv(ranked))
    return comparison


def _own_views(methods: Sequence[_Method]) -> dict[str, dict[str, Any]]:
    """Return, for each method, the options in ``[views]`` that differ from the views that most methods use."""
    tables = {m.candidate.name: m.recipe.resolved()["views"] for m in methods if m.recipe is not None}
    texts = {name: json.dumps(table, sort_keys=True, default=str) for name, table in tables.items()}
    usual = json.loads(Counter(texts.values()).most_common(1)[0][0])
    return {
        name: {key: value for key, value in json.loads(text).items() if usual.get(key) != value}
        for name, text in texts.items()
    }


def _hardware(run: Run) -> dict[str, Any]:
    return dict(read_provenance(run)["hardware"])


def _protocol(
    request: Request, methods: Sequence[_Method], results: Sequence[MethodResult], data: ComparisonData
) -> dict[str, Any]:
    accuracies = [accuracies for result in results for accuracies in result.measured]
    hardware = [dict(run.hardware) for result in results for run in result.runs if run.hardware]
    return {
        "budget": {request.budget.unit: request.budget.amount},
        "data": dict(request.shared.data),
        "training_images": data.training_images,
        "image_shape": data.shape,
        "test_images": data.test_images,
        "backbone": dict(request.shared.backbone),
        "batch_size": next(m.recipe.train.batch_size for m in methods if m.recipe is not None),
        "settings": list(request.shared.settings),
        "seeds": list(request.seeds),
        "evaluators": list(EVALUATORS),
        "evaluations": accuracies[0].protocols if accuracies else {},
        "machines": [each for index, each in enumerate(hardware) if each not in hardware[:index]],
        "sslkit": sslkit.__version__,
        "labels": "used by metrics and evaluators only",
        "test_data": "used once for each run, after the last training run",
        "minutes": "time of the training steps, without data loading before training, metrics and evaluation",
    }
