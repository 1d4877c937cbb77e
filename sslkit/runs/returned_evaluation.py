"""Check the value that an evaluator returned, and convert it to a result that can be saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sslkit.contracts.evaluator import Evaluation
from sslkit.runs.evaluation_result import EvaluatorResult
from sslkit.runs.plain_values import plain_table, plain_value


def evaluator_result(evaluation: object, protocol: Mapping[str, Any]) -> EvaluatorResult:
    """Convert the value that an evaluator returned to a result that can be saved.

    The protocol of the result has the entries of ``protocol``, then those of the evaluator.

    Raises:
        ValueError: ``evaluation`` is not an ``Evaluation``, or JSON cannot contain a value; the message gives the key.
    """
    if not isinstance(evaluation, Evaluation):
        raise ValueError(f"it must be an sslkit.Evaluation, not of type {type(evaluation).__name__}")
    baselines = plain_table(evaluation.baselines, "baselines", _metrics)
    tree = {
        "metrics": _metrics(evaluation.metrics, "metrics"),
        "protocol": {**protocol, **plain_table(evaluation.protocol, "protocol", plain_value)},
        "baselines": {name: {"metrics": metrics} for name, metrics in baselines.items()},
    }
    try:
        return TypeAdapter(EvaluatorResult).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _metrics(metrics: object, key: str) -> dict[str, Any]:
    # The curves of a diverging training may contain NaN.
    return plain_table(metrics, key, lambda value, own: plain_value(value, own, finite=own != f"{key}['curves']"))
