"""What a training starts from: new weights, those of a finished run, or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sslkit.assembly.position import Position

Restoring = Literal["nothing", "network", "everything"]
"""Which saved state will be loaded: none, that of backbone and heads, or that of losses and method as well."""


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Attributes:
        restoring: which saved state will be loaded into the components.
        steps_before: optimizer steps of the runs that this one continues from.
        epochs_before: epochs of these runs.
        position: position of the checkpoint to resume from; None without one.
    """

    restoring: Restoring = "nothing"
    steps_before: int = 0
    epochs_before: int = 0
    position: Position | None = None
