"""Sums of losses that stay on the device until they are logged, so that no step syncs the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sslkit.contracts.method import MethodOutput


class LossAccumulator:
    """Losses of the steps since the last log row and since the start of the epoch.

    Attributes:
        names: the loss and its terms, in the order of a row of ``pending``.
        pending: one row ``[names]`` for each step since the last log row.
        epoch_loss: sum of the steps' losses since the epoch started.
        classifier_loss: by head, the sums of the losses of its classifiers ``[classifiers]`` in the same time.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.pending: list[Tensor] = []
        self.epoch_loss = torch.zeros(())
        self.classifier_loss: dict[str, Tensor] = {}

    def to(self, device: torch.device) -> None:
        """Move all sums to the device of the losses."""
        self.pending = [row.to(device) for row in self.pending]
        self.epoch_loss = self.epoch_loss.to(device)
        self.classifier_loss = {name: loss.to(device) for name, loss in self.classifier_loss.items()}

    def add(self, output: MethodOutput) -> None:
        """Add the losses of one step; their names must be ``names``."""
        loss = output.loss.detach()
        # A term may be a tensor on the CPU.
        terms = (term.to(loss.device, loss.dtype, non_blocking=True) for term in output.terms.values())
        self.pending.append(torch.stack([loss, *terms]))
        self.epoch_loss = self.epoch_loss + loss
        for head, losses in output.per_classifier.items():
            before, now = self.classifier_loss.get(head), torch.stack(losses)
            self.classifier_loss[head] = now if before is None else before + now

    def take_mean(self) -> Tensor:
        """Return the mean ``[names]`` of the pending rows and clear them."""
        mean = torch.stack(self.pending).mean(dim=0)
        self.pending = []
        return mean

    def end_epoch(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the epoch's sums, of the loss and by classifier, and reset them."""
        sums = self.epoch_loss, self.classifier_loss
        self.epoch_loss, self.classifier_loss = torch.zeros_like(self.epoch_loss), {}
        return sums

    def rescale(self, factor: float) -> None:
        """Multiply the epoch's sums, so that they count as if the epoch always had its present number of steps."""
        self.epoch_loss = self.epoch_loss * factor
        self.classifier_loss = {name: loss * factor for name, loss in self.classifier_loss.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return this process's part of a checkpoint."""
        return {
            "pending": torch.stack(self.pending).cpu() if self.pending else torch.empty(0),
            "epoch_loss": self.epoch_loss.cpu(),
            "classifier_loss": {name: loss.cpu() for name, loss in self.classifier_loss.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore this process's part of a checkpoint."""
        self.pending = list(state["pending"])
        self.epoch_loss = state["epoch_loss"]
        self.classifier_loss = dict(state["classifier_loss"])
