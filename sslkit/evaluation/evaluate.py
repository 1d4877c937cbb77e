"""Evaluates a run by named evaluators, and keeps the result with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sslkit.components.catalog import Catalog
from sslkit.components.kinds import kind_named
from sslkit.components.loader import load
from sslkit.contracts.evaluator import Evaluator
from sslkit.evaluation.subject import RunSubject
from sslkit.runs import Run


def evaluate(run: Run, evaluators: Sequence[str], device: str = "cpu") -> dict[str, Any]:
    """Figures of a run by each evaluator, with their protocols and baselines; also saved in the run.

    Args:
        run: a finished run.
        evaluators: names of evaluators, such as ``cluster`` or ``sslkit:cluster``.
        device: where features are computed.

    Returns:
        ``{"run", "<evaluator>": {figure: value}, "protocol": {evaluator: ...}, "baselines": {name: {figure: value}}}``,
        fractions of 1.

    Raises:
        SslkitError: the run has not finished, or the data lack what an evaluator needs.
    """
    catalog = Catalog.scan()
    kind = kind_named("evaluator")
    built: dict[str, Evaluator] = {}
    for name in evaluators:
        entry = catalog.find(kind, name)
        component: Any = load(entry)
        built[entry.name] = component(component.Options())
    subject = RunSubject(run, device)
    result: dict[str, Any] = {"run": str(run.path)}
    protocol: dict[str, Mapping[str, Any]] = {}
    baselines: dict[str, Mapping[str, Any]] = {}
    which = {"head": subject.head_name, "classifier": subject.classifier} if subject.head else {}
    for name, evaluator in built.items():
        evaluation = evaluator.evaluate(subject)
        result[name] = dict(evaluation.figures)
        protocol[name] = dict(evaluation.protocol) | which
        baselines |= evaluation.baselines
    result["protocol"] = protocol
    result["baselines"] = baselines
    run.save_evaluation(result)
    return result
