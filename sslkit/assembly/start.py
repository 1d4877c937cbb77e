"""Start of a training run: the recipe's initial weights, the weights of a finished run, or a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sslkit.assembly.position import Position
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.runs.run import Run

Restoring = Literal["nothing", "network", "everything"]
"""Saved state to load: the weights of backbone and heads ("network"), or all state of the method ("everything")."""


@dataclass(frozen=True)
class SavedPositives:
    """State of the rule that chooses positives, from a checkpoint.

    Attributes:
        images: number of training images when the checkpoint was written.
        prepared: result of ``Positives.prepare`` for these images.
    """

    images: int
    prepared: Mapping[str, Tensor]


@dataclass(frozen=True)
class Start:
    """Start of a training run: the recipe's initial weights, the weights of a finished run, or a checkpoint.

    Attributes:
        restoring: which saved state is loaded into the components after they are built; see ``Restoring``.
        steps_before: optimizer steps of the earlier runs that this run continues.
        epochs_before: epochs of the earlier runs.
        position: position of the checkpoint to resume from, or None if there is no checkpoint.
        parent: finished run whose backbone and heads are loaded, or None if there is no parent.
        preprocessing: preprocessing of the images that the checkpoint or the parent was trained with, or None if
            there is neither a checkpoint nor a parent.
        backbone: the backbone's state dict in the checkpoint, or None if there is no checkpoint. A frozen backbone
            loads it before features are computed.
        positives: saved state of the rule that chooses positives, or None if there is no checkpoint.
    """

    restoring: Restoring = "nothing"
    steps_before: int = 0
    epochs_before: int = 0
    position: Position | None = None
    parent: Run | None = None
    preprocessing: Preprocessing | None = None
    backbone: Mapping[str, Tensor] | None = None
    positives: SavedPositives | None = None
