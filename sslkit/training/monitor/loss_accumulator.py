"""Accumulate losses on the device until they are logged, so that no step syncs the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sslkit.contracts.method import MethodOutput


class LossAccumulator:
    """Losses since the latest logged step, and sums of losses since the start of the epoch.

    Attributes:
        names: names of the loss and its terms, in the order of the values in a row of ``pending``.
        pending: list with a tensor ``[len(names)]`` for each step since the latest logged step.
        epoch_loss: scalar tensor, sum of the losses since the start of the epoch.
        classifier_loss: mapping from head name to a tensor with one value per classifier, the classifier's losses
            summed since the start of the epoch.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.pending: list[Tensor] = []
        self.epoch_loss = torch.zeros(())
        self.classifier_loss: dict[str, Tensor] = {}

    def to(self, device: torch.device) -> None:
        """Move all tensors to ``device``."""
        self.pending = [row.to(device) for row in self.pending]
        self.epoch_loss = self.epoch_loss.to(device)
        self.classifier_loss = {name: loss.to(device) for name, loss in self.classifier_loss.items()}

    def add(self, output: MethodOutput) -> None:
        """Add the losses of one step; their names must equal ``names``."""
        loss = output.loss.detach()
        # A term may be a tensor on the CPU.
        terms = (term.to(loss.device, loss.dtype, non_blocking=True) for term in output.terms.values())
        self.pending.append(torch.stack([loss, *terms]))
        self.epoch_loss = self.epoch_loss + loss
        for head, losses in output.per_classifier.items():
            before, now = self.classifier_loss.get(head), torch.stack(losses)
            self.classifier_loss[head] = now if before is None else before + now

    def take_mean(self) -> Tensor:
        """Return the mean ``[len(names)]`` of the pending rows, and remove these rows."""
        mean = torch.stack(self.pending).mean(dim=0)
        self.pending = []
        return mean

    def end_epoch(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ``epoch_loss`` and ``classifier_loss``, and reset both to 0."""
        sums = self.epoch_loss, self.classifier_loss
        self.epoch_loss, self.classifier_loss = torch.zeros_like(self.epoch_loss), {}
        return sums

    def rescale(self, factor: float) -> None:
        """Multiply the sums of the current epoch by ``factor`` when resuming has changed the steps per epoch."""
        self.epoch_loss = self.epoch_loss * factor
        self.classifier_loss = {name: loss * factor for name, loss in self.classifier_loss.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return this process's pending and summed losses for a checkpoint."""
        return {
            "pending": torch.stack(self.pending).cpu() if self.pending else torch.empty(0),
            "epoch_loss": self.epoch_loss.cpu(),
            "classifier_loss": {name: loss.cpu() for name, loss in self.classifier_loss.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore this process's pending and summed losses from a checkpoint."""
        self.pending = list(state["pending"])
        self.epoch_loss = state["epoch_loss"]
        self.classifier_loss = dict(state["classifier_loss"])
