"""Start of a training run: new weights, the weights of a finished run, or a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sslkit.assembly.position import Position
from sslkit.runs.run import Run

Restoring = Literal["nothing", "network", "everything"]
"""Saved state to load: "network" is that of backbone and heads, "everything" also that of losses and method."""


@dataclass(frozen=True)
class SavedPositives:
    """What a checkpoint knows about positives.

    Attributes:
        images: number of training images.
        prepared: result of ``Positives.prepare`` for these images.
    """

    images: int
    prepared: Mapping[str, Tensor]


@dataclass(frozen=True)
class Start:
    """Start of a training run: new weights, the weights of a finished run, or a checkpoint.

    Attributes:
        restoring: saved state that is loaded into the components after they are built.
        steps_before: optimizer steps of the earlier runs that this run continues.
        epochs_before: epochs of the earlier runs.
        position: position of the checkpoint to resume from; None without a checkpoint.
        parent: finished run whose backbone and heads are loaded; None without one.
        backbone: state of the backbone in the checkpoint; features of a frozen backbone are computed with it.
        positives: what the checkpoint knows about positives.
    """

    restoring: Restoring = "nothing"
    steps_before: int = 0
    epochs_before: int = 0
    position: Position | None = None
    parent: Run | None = None
    backbone: Mapping[str, Tensor] | None = None
    positives: SavedPositives | None = None
