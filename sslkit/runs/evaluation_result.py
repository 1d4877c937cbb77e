"""Result of an evaluation, which is returned and saved in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, ConfigDict, GetPydanticSchema, TypeAdapter
from typing_extensions import TypedDict

EVALUATION_FORMAT = 1
"""Version of the layout of evaluation files. Files of a different version are not read."""


def _check_number(text: str) -> str:
    float(text)
    return text


_Numbers = dict[str, int | float | None]  # null replaces NaN and infinity, which JSON lacks


RANDOM_WEIGHTS = "random_weights"
"""Name of the baseline of a network with random weights."""

PRETRAINED_WEIGHTS = "pretrained_weights"
"""Name of the baseline of the weights that training started from."""


class _KnownMetrics(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # read by Pydantic
    fractions: NotRequired[dict[Annotated[str, AfterValidator(_check_number)], _Numbers]]
    named: NotRequired[_Numbers]
    corrected: NotRequired[_Numbers]
    curves: NotRequired[list[_Numbers]]


Metrics = Annotated[dict[str, Any], GetPydanticSchema(lambda _, handler: handler.generate_schema(_KnownMetrics))]
"""Metrics, keyed by name. Only the nested metrics that reports read have a fixed type."""


@dataclass(frozen=True)
class BaselineResult:
    """Metrics of a baseline.

    Attributes:
        metrics: metrics, keyed by name.
        protocol: protocol of the baseline, or an empty mapping if the evaluator's protocol also describes the baseline.
    """

    metrics: Metrics
    protocol: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluatorResult:
    """Metrics of one evaluator, with their protocol and baselines.

    Attributes:
        metrics: metrics, keyed by name; scores are in [0, 1].
        protocol: every setting that the metrics depend on.
        baselines: baselines, keyed by name, such as ``kmeans_pixels`` or ``pretrained_weights``.
    """

    metrics: Metrics
    protocol: dict[str, Any]
    baselines: dict[str, BaselineResult] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationResult:
    """Metrics of a run from one or more evaluators.

    Attributes:
        run: path of the run folder.
        evaluated_with: device, and versions of sslkit and torch.
        evaluators: result of each evaluator, keyed by the evaluator's name.
        notes: sentences about installed versions that differ from the versions used for training, and about damaged
            cache entries.
    """

    run: str
    evaluated_with: dict[str, str]
    evaluators: dict[str, EvaluatorResult]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the result as dictionaries and lists that JSON can store, with the format version first."""
        return {"format": EVALUATION_FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, tree: Any) -> EvaluationResult:
        """Build a result from the value that ``to_json`` returned.

        Raises:
            ValueError: the format version is not ``EVALUATION_FORMAT``.
            pydantic.ValidationError: a value is wrong or missing.
        """
        if isinstance(tree, Mapping) and tree.get("format") != EVALUATION_FORMAT:
            message = "its format is {!r}, supported is {}: evaluate the run again with `sslkit eval`"
            raise ValueError(message.format(tree.get("format"), EVALUATION_FORMAT))
        return _ADAPTER.validate_python(tree)


_ADAPTER = TypeAdapter(EvaluationResult)
