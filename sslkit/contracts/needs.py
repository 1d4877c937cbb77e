"""Names that the attribute ``needs`` of a component class may contain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

LossNeed = Literal["features", "embeddings", "logits", "teacher"]
EvaluatorNeed = Literal["labels", "test"]

KNOWN_NEEDS: Mapping[str, tuple[str, ...]] = {"loss": get_args(LossNeed), "evaluator": get_args(EvaluatorNeed)}
"""Allowed names for each kind of component that has an attribute ``needs``."""
