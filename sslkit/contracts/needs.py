"""Names that the attribute ``needs`` of a component may contain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

LossNeed = Literal["features", "embeddings", "logits", "teacher"]
EvaluatorNeed = Literal["labels", "test"]

KNOWN_NEEDS: Mapping[str, tuple[str, ...]] = {"loss": get_args(LossNeed), "evaluator": get_args(EvaluatorNeed)}
"""Known names by kind of component. Other kinds have no ``needs``."""
