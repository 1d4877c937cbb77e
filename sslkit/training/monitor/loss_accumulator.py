"""Accumulate losses on the device until they are logged, so that no step syncs the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sslkit.contracts.method import MethodOutput

MAX_ROWS = 1024
"""Largest number of rows that the accumulator fills before it moves them to ``full``."""


class LossAccumulator:
    """Losses since the latest logged step, and sums of losses since the start of the epoch.

    ``add`` writes to the same memory in every step, so that a CUDA graph can replay it.

    Args:
        log_every_steps: usual number of steps between two calls of ``take_mean``.

    Attributes:
        names: names of the loss and its terms, in the order of the values in a row.
        count: number of steps whose losses are in ``rows``.
        rows: tensor ``[R, len(names)]``, one row for each of up to R steps; the first ``count`` rows are filled.
        full: list of tensors ``[n, len(names)]``, copies of earlier ``rows`` since the latest logged step.
        epoch_loss: scalar tensor, sum of the losses since the start of the epoch.
        classifier_loss: mapping from head name to a tensor with one value per classifier, the classifier's losses
            summed since the start of the epoch.
    """

    def __init__(self, log_every_steps: int = 1) -> None:
        self.capacity = min(log_every_steps, MAX_ROWS)
        self.names: list[str] = []
        self.count = 0
        self.rows = torch.zeros(0, 0)
        self.full: list[Tensor] = []
        self.epoch_loss = torch.zeros(())
        self.classifier_loss: dict[str, Tensor] = {}

    @property
    def pending(self) -> list[Tensor]:
        """The row ``[len(names)]`` of each step since the latest logged step."""
        newest = [self.rows[: self.count]] if self.count else []
        return [row for rows in (*self.full, *newest) for row in rows]

    def to(self, device: torch.device) -> None:
        """Move all tensors to ``device``."""
        self.rows, self.full = self.rows.to(device), [rows.to(device) for rows in self.full]
        self.epoch_loss = self.epoch_loss.to(device)
        self.classifier_loss = {name: loss.to(device) for name, loss in self.classifier_loss.items()}

    def add(self, output: MethodOutput, row: Tensor) -> None:
        """Add the losses of one step; their names must equal ``names``.

        Args:
            output: output of the method.
            row: row of the buffer to write, equal to ``count``; int64 ``[1]``, so that a CUDA graph can replay a step.
        """
        loss = output.loss.detach()
        # A term may be a tensor on the CPU.
        terms = (term.to(loss.device, loss.dtype, non_blocking=True) for term in output.terms.values())
        values = torch.stack([loss, *terms])
        if self.rows.shape[1:] != values.shape or self.rows.dtype != values.dtype:
            self.rows = values.new_zeros(self.capacity, len(values))
        self.rows.index_copy_(0, row, values[None])
        self.epoch_loss += loss
        for head, losses in output.per_classifier.items():
            if head not in self.classifier_loss:
                self.classifier_loss[head] = torch.zeros_like(torch.stack(losses))
            self.classifier_loss[head] += torch.stack(losses)

    def step_taken(self) -> None:
        """Increase ``count`` after a step. When ``rows`` is full, append a copy to ``full`` and restart at row 0."""
        self.count += 1
        if self.count == self.capacity:
            self.full.append(self.rows.clone())
            self.count = 0

    def take_mean(self) -> Tensor:
        """Return the mean ``[len(names)]`` of the pending rows, and remove these rows."""
        mean = torch.stack(self.pending).mean(dim=0)
        self.count, self.full = 0, []
        return mean

    def end_epoch(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ``epoch_loss`` and ``classifier_loss``, and reset both to 0."""
        sums = self.epoch_loss.clone(), {name: loss.clone() for name, loss in self.classifier_loss.items()}
        for total in (self.epoch_loss, *self.classifier_loss.values()):
            total.zero_()
        return sums

    def rescale(self, factor: float) -> None:
        """Multiply the sums of the current epoch by ``factor`` when resuming has changed the steps per epoch."""
        self.epoch_loss = self.epoch_loss * factor
        self.classifier_loss = {name: loss * factor for name, loss in self.classifier_loss.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return this process's pending and summed losses for a checkpoint."""
        return {
            "pending": torch.stack(self.pending).cpu() if self.pending else torch.empty(0),
            "epoch_loss": self.epoch_loss.cpu().clone(),
            "classifier_loss": {name: loss.cpu().clone() for name, loss in self.classifier_loss.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore this process's pending and summed losses from a checkpoint."""
        self.count, self.full = 0, [state["pending"]] if len(state["pending"]) else []
        self.epoch_loss = state["epoch_loss"]
        self.classifier_loss = dict(state["classifier_loss"])
