"""Draw random numbers from a given generator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor


class RandomValues(NamedTuple):
    """Description of the random values of each image: numbers, uniform in ``[low, high)``, or events (True or False).

    Attributes:
        name: name of the values.
        shape: shape of the values of one image, ``(V,)`` or ``(V, ...)`` for V views.
        ranges: for each view, the pair ``(low, high)``.
        probabilities: for an event, its probability in each view; () for other values.
    """

    name: str
    shape: tuple[int, ...]
    ranges: tuple[tuple[float, float], ...]
    probabilities: tuple[float, ...] = ()


def uniform(name: str, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> RandomValues:
    """Return the description of values with the same range in all views."""
    return RandomValues(name, shape, ((low, high),) * shape[0])


def event(name: str, probabilities: Sequence[float]) -> RandomValues:
    """Return the description of an event that happens in view v with probability ``probabilities[v]``."""
    views = len(probabilities)
    return RandomValues(name, (views,), ((0.0, 1.0),) * views, tuple(probabilities))


def draw_together(values: Sequence[RandomValues], n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw values for ``n`` images. Return ``[n, *shape]`` tensors, keyed by name: float32, or bool for events.

    All values come from one call of ``torch.rand``, so that a GPU launches only a few kernels. On a CPU, the values are
    the same as if drawn one after the other.
    """
    device = generator.device
    count = n * sum(prod(each.shape) for each in values)
    unit = torch.rand(count, generator=generator, device=device, dtype=torch.float32)
    constants = _constants if type(unit) is Tensor else _new_constants  # fake tensors are valid only within their mode
    scale, shift, thresholds = constants(tuple(values), n, device)
    happened = unit < thresholds
    scaled = unit.mul_(scale).add_(shift)
    drawn, start = {}, 0
    for each in values:
        stop = start + n * prod(each.shape)
        source = happened if each.probabilities else scaled
        drawn[each.name] = source[start:stop].view(n, *each.shape)
        start = stop
    return drawn


def _new_constants(values: tuple[RandomValues, ...], n: int, device: torch.device) -> tuple[Tensor, ...]:
    """Return tensors scale, shift and threshold for uniform numbers u: a value is ``scale * u + shift``, an event is
    ``u < threshold``.
    """

    def for_each_number(each: RandomValues, by_view: Sequence[float]) -> Tensor:
        numbers = torch.tensor(by_view, dtype=torch.float32).repeat_interleave(prod(each.shape[1:])).repeat(n)
        return numbers.to(device, non_blocking=True)

    scale = [for_each_number(each, [high - low for low, high in each.ranges]) for each in values]
    shift = [for_each_number(each, [low for low, _ in each.ranges]) for each in values]
    thresholds = [for_each_number(each, each.probabilities or [0.0] * each.shape[0]) for each in values]
    return torch.cat(scale), torch.cat(shift), torch.cat(thresholds)


_constants = lru_cache(maxsize=64)(_new_constants)
