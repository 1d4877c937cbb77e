"""Independent random streams from one seed."""

from __future__ import annotations

import random
from typing import Literal

import numpy
import torch

STREAMS = {
    "order": 1,
    "views": 2,
    "split": 3,
    "initialisation": 4,
    "evaluation": 5,
    "fractions": 6,
    "folds": 7,
    "collapse": 8,
}

Stream = Literal["order", "views", "split", "initialisation", "evaluation", "fractions", "folds", "collapse"]


def derive_seed(seed: int, stream: Stream, *parts: int) -> int:
    """A seed in 0 to 2**63 - 1 for one stream of a run, and one epoch or step of it.

    Of one number of parts, every (seed, stream, parts) has its own, so no generator's state needs saving: it can be
    made anew at any step.  Parts of 0 at the end are as none: ``(e,)`` and ``(e, 0)`` are one seed.
    """
    state = numpy.random.SeedSequence([seed, STREAMS[stream], *parts]).generate_state(1, numpy.uint64)
    return int(state[0] >> numpy.uint64(1))


def seeded_generator(seed: int, stream: Stream, *parts: int) -> torch.Generator:
    """A CPU generator seeded by ``derive_seed``."""
    return torch.Generator().manual_seed(derive_seed(seed, stream, *parts))


def seed_global(seed: int, *parts: int) -> None:
    """Seed the global random states, which initialise the network and which dropout draws from."""
    derived = derive_seed(seed, "initialisation", *parts)
    random.seed(derived)
    numpy.random.seed(derived % 2**32)
    torch.manual_seed(derived)
