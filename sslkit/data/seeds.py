"""Independent random streams that are derived from one seed."""

from __future__ import annotations

import random
from typing import Literal, get_args

import numpy
import torch

Stream = Literal[
    "order",
    "views",
    "split",
    "initialisation",
    "evaluation",
    "fractions",
    "folds",
    "collapse",
    "positives",
    "stored views",
    "losses",
    "methods",
]

STREAMS = {name: number for number, name in enumerate(get_args(Stream), 1)}
"""Number of each stream. Seeds of a stream are derived from its number, so new streams are appended at the end."""


def derive_seed(seed: int, stream: Stream, *parts: int) -> int:
    """Return a seed in [0, 2**63) for a random stream of a run.

    ``parts`` are numbers such as epoch or step. Different ``parts`` of equal length give different seeds, so a
    generator can be rebuilt at any step, and its state need not be saved. Trailing zeros have no effect: ``(e,)`` and
    ``(e, 0)`` give the same seed.
    """
    state = numpy.random.SeedSequence([seed, STREAMS[stream], *parts]).generate_state(1, numpy.uint64)
    return int(state[0] >> numpy.uint64(1))


def seeded_generator(seed: int, stream: Stream, *parts: int) -> torch.Generator:
    """Return a CPU generator seeded with ``derive_seed(seed, stream, *parts)``."""
    return torch.Generator().manual_seed(derive_seed(seed, stream, *parts))


def seed_global(seed: int, *parts: int) -> None:
    """Seed the global random states of Python, numpy and torch, for initialisation and dropout.

    ``parts`` are as in ``derive_seed``, such as the rank of the process.
    """
    derived = derive_seed(seed, "initialisation", *parts)
    random.seed(derived)
    numpy.random.seed(derived % 2**32)
    torch.manual_seed(derived)
