"""Cost of each part of a training step, and the part that limits training."""

from __future__ import annotations

from statistics import median

from sslkit.bench.stages import STAGES

END_TO_END = "end_to_end"
"""Key of the measured times of complete training steps, in addition to the names of the stages."""

ADVICE = {
    "model": "the backbone itself: take a smaller one, smaller or fewer views, or train.compile = true",
    "heads and losses": "heads, losses and a teacher, if any: take fewer classifiers or narrower layers",
    "views": "making the views: take fewer or smaller crops, or fewer effects",
    "data": "fetching the images: smaller ones may fit into memory, where they are fetched fastest",
    "logging": "the work around a step: take a larger train.batch_size or monitor.log_every_steps",
}
"""Mapping from bottleneck to advice."""

NEAR_CEILING = 0.9
"""Ratio of training speed to ceiling at or above which the model is the bottleneck."""


def costs(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the seconds that each part of a training step takes: medians over rounds, or 0 if a median is negative.

    ``model`` is the time of the first stage, the backbone alone. The cost of any other part is the time of the stage
    that adds the part, minus the time of the stage before, measured in the same round.

    Args:
        times: seconds per step in each round, keyed by stage (see ``STAGES``) or ``end_to_end`` for complete training.
    """
    parts = zip(("heads and losses", "views", "data", "logging"), STAGES, (*STAGES[1:], END_TO_END), strict=True)
    added = {
        part: max(0.0, median(after - before for before, after in zip(times[without], times[with_], strict=True)))
        for part, without, with_ in parts
    }
    return {"model": median(times["backbone"]), **added}


def shares(cost: dict[str, float], step: float) -> dict[str, float]:
    """Return the fraction of a step that each part takes. The fractions sum to at most 1.

    Args:
        cost: mapping from part to seconds per step.
        step: seconds per step of training. Parts are measured separately, so the sum of their costs can be larger than
            ``step``; fractions are then relative to the sum.
    """
    total = max(step, sum(cost.values()))
    return {part: seconds / total for part, seconds in cost.items()}


def find_bottleneck(ratio: float, cost: dict[str, float]) -> str:
    """Return the part that limits training: the model if ``ratio`` is near 1, else the slowest other part.

    Args:
        ratio: training speed divided by the speed of the backbone alone.
        cost: mapping from part to seconds per step.
    """
    if ratio >= NEAR_CEILING:
        return "model"
    return max((part for part in cost if part != "model"), key=lambda part: cost[part])
