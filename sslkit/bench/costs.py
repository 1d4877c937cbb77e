"""What each part of a training step costs, and which part limits the training."""

from __future__ import annotations

from statistics import median

from sslkit.bench.stages import STAGES

END_TO_END = "end_to_end"
"""Name of the training itself, next to the names of the stages."""

ADVICE = {
    "model": "the backbone itself: take a smaller one, smaller or fewer views, or train.compile = true",
    "heads and losses": "heads, losses and a teacher, if any: take fewer classifiers or narrower layers",
    "views": "making the views: take fewer or smaller crops, or fewer effects",
    "data": "fetching the images: smaller ones may fit into memory, where they are fetched fastest",
    "logging": "the work around a step: take a larger train.batch_size or monitor.log_every_steps",
}
"""Remedy for each bottleneck."""

NEAR_CEILING = 0.9
"""Share of the ceiling from which on the model itself is the bottleneck."""


def costs(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the seconds that each part adds to a step: the median over the rounds, at least 0.

    Args:
        times: seconds per step in each round, by stage and for ``end_to_end``.
    """
    parts = zip(("heads and losses", "views", "data", "logging"), STAGES, (*STAGES[1:], END_TO_END), strict=True)
    added = {
        part: max(0.0, median(after - before for before, after in zip(times[without], times[with_], strict=True)))
        for part, without, with_ in parts
    }
    return {"model": median(times["backbone"]), **added}


def shares(cost: dict[str, float], step: float) -> dict[str, float]:
    """Return the share of each part in a step; together at most 1.

    Args:
        cost: seconds per step by part.
        step: seconds per step of the training. The parts are measured one by one and can sum to more; then the shares
            are those of this sum.
    """
    total = max(step, sum(cost.values()))
    return {part: seconds / total for part, seconds in cost.items()}


def find_bottleneck(ratio: float, cost: dict[str, float]) -> str:
    """Return the part that limits a training: the model near the ceiling, else the costliest other part.

    Args:
        ratio: the training's speed as a share of the ceiling.
        cost: seconds per step by part.
    """
    if ratio >= NEAR_CEILING:
        return "model"
    return max((part for part in cost if part != "model"), key=lambda part: cost[part])
