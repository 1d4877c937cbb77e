"""Losses, kept on the device until they are read: no step waits for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sslkit.contracts.method import MethodOutput


class LossAccumulator:
    """What steps have lost since it was last read, and since the epoch began.

    Attributes:
        names: the loss and its terms, as they stand in a row of ``pending``.
        pending: a row for each step since the last reading.
        epoch_loss: the sum of losses since the epoch began.
        classifier_loss: by head, the sum of the loss of each of its classifiers ``[classifiers]`` since then.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.pending: list[Tensor] = []
        self.epoch_loss = torch.zeros(())
        self.classifier_loss: dict[str, Tensor] = {}

    def to(self, device: torch.device) -> None:
        """Where the losses are made."""
        self.pending = [row.to(device) for row in self.pending]
        self.epoch_loss = self.epoch_loss.to(device)
        self.classifier_loss = {name: loss.to(device) for name, loss in self.classifier_loss.items()}

    def add(self, output: MethodOutput) -> None:
        """One step more, whose loss and terms are called as in ``names``."""
        loss = output.loss.detach()
        # A term may be a number that the host knows.
        terms = (term.to(loss.device, loss.dtype, non_blocking=True) for term in output.terms.values())
        self.pending.append(torch.stack([loss, *terms]))
        self.epoch_loss = self.epoch_loss + loss
        for head, losses in output.per_classifier.items():
            before, now = self.classifier_loss.get(head), torch.stack(losses)
            self.classifier_loss[head] = now if before is None else before + now

    def take_mean(self) -> Tensor:
        """The mean ``[names]`` of the rows that are pending; then none are."""
        mean = torch.stack(self.pending).mean(dim=0)
        self.pending = []
        return mean

    def end_epoch(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The sums of the epoch; then another begins."""
        sums = self.epoch_loss, self.classifier_loss
        self.epoch_loss, self.classifier_loss = torch.zeros_like(self.epoch_loss), {}
        return sums

    def state_dict(self) -> dict[str, Any]:
        """This process's part of a checkpoint."""
        return {
            "pending": torch.stack(self.pending).cpu() if self.pending else torch.empty(0),
            "epoch_loss": self.epoch_loss.cpu(),
            "classifier_loss": {name: loss.cpu() for name, loss in self.classifier_loss.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.pending = list(state_dict["pending"])
        self.epoch_loss = state_dict["epoch_loss"]
        self.classifier_loss = dict(state_dict["classifier_loss"])
