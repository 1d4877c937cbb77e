"""Start of a training run: new weights, the weights of a finished run, or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sslkit.assembly.position import Position

Restoring = Literal["nothing", "network", "everything"]
"""Saved state to load: "network" is that of backbone and heads, "everything" also that of losses and method."""


@dataclass(frozen=True)
class Start:
    """Start of a training run: new weights, the weights of a finished run, or a checkpoint.

    Attributes:
        restoring: saved state that is loaded into the components after they are built.
        steps_before: optimizer steps of the earlier runs that this run continues.
        epochs_before: epochs of the earlier runs.
        position: position of the checkpoint to resume from; None without a checkpoint.
    """

    restoring: Restoring = "nothing"
    steps_before: int = 0
    epochs_before: int = 0
    position: Position | None = None
