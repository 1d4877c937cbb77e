"""Check the value that an evaluator returned, and convert it to a result that can be saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sslkit.contracts.evaluator import Evaluation
from sslkit.runs.evaluation_result import EvaluatorResult


def evaluator_result(evaluation: object, protocol: Mapping[str, Any]) -> EvaluatorResult:
    """Convert the value that an evaluator returned to a result that can be saved.

    The protocol of the result contains the entries of ``protocol`` and of the protocol that the evaluator returned. If
    both have a key, the evaluator's value is used.

    Raises:
        ValueError: ``evaluation`` is not an ``Evaluation``, or JSON cannot contain a value; the message gives the key.
    """
    if not isinstance(evaluation, Evaluation):
        raise ValueError(f"it must be an sslkit.Evaluation, not of type {type(evaluation).__name__}")
    baselines = _plain_table(evaluation.baselines, "baselines", _metrics)
    tree = {
        "metrics": _metrics(evaluation.metrics, "metrics"),
        "protocol": {**protocol, **_plain_table(evaluation.protocol, "protocol", _plain_value)},
        "baselines": {name: {"metrics": metrics} for name, metrics in baselines.items()},
    }
    try:
        return TypeAdapter(EvaluatorResult).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _metrics(metrics: object, key: str) -> dict[str, Any]:
    # The curves of a diverging training may contain NaN.
    return _plain_table(metrics, key, lambda value, own: _plain_value(value, own, finite=own != f"{key}['curves']"))


def _plain_value(value: object, key: str, *, finite: bool = True) -> Any:
    """Convert a value to plain types: tuples to lists, mappings to dicts, number subclasses to numbers.

    Args:
        value: value to convert.
        key: key of the value for messages, such as ``metrics['top1']``.
        finite: whether NaN and infinity raise an error.

    Raises:
        ValueError: a value has a type that JSON lacks or is not finite, or a key is not a string. The message starts
            with the key.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if finite and not math.isfinite(value):
            raise ValueError(f"{key} is {float(value)}: it must be a finite number; leave it out if it is undefined")
        return float(value)
    if isinstance(value, Mapping):
        return _plain_table(value, key, lambda item, own: _plain_value(item, own, finite=finite))
    if isinstance(value, (list, tuple)):
        return [_plain_value(item, f"{key}[{index}]", finite=finite) for index, item in enumerate(value)]
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise ValueError(
        f"{key} is of type {kind}, which JSON cannot contain: convert it, for example by float(value) or value.tolist()"
    )


def _plain_table(value: object, key: str, convert: Callable[[Any, str], Any]) -> dict[str, Any]:
    """Return a dict with each value of a mapping converted by ``convert(value, key of the value)``.

    Raises:
        ValueError: ``value`` is not a mapping, or a key is not a string.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} must be a mapping from names to values, not of type {type(value).__name__}")
    for name in value:
        if not isinstance(name, str):
            raise ValueError(f"{key} has the key {name!r} of type {type(name).__name__}: keys must be strings")
    return {str(name): convert(item, f"{key}[{str(name)!r}]") for name, item in value.items()}
