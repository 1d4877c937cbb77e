"""The training step: a function of tensors on the device, without a copy from the host and without a device sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.method import Batch, Method, MethodOutput
from sslkit.contracts.views import Parameters
from sslkit.data.loader import gather_rows
from sslkit.device.hardware import Hardware
from sslkit.device.small_feature_maps import small_map_gradients
from sslkit.training.first_batch_checks import check_heads, check_images, check_views
from sslkit.training.guard import NonFiniteGuard
from sslkit.training.step.gradient_average import GradientAverage
from sslkit.training.step.inputs import StepInputs


class Recorder(Protocol):
    """Receiver of the losses of each step.

    Attributes:
        row: row of the loss accumulator in which the next step's losses are stored.
    """

    @property
    def row(self) -> int: ...

    def note(self, text: str) -> None:
        """Show a sentence to the user."""

    def record(self, output: MethodOutput, row: Tensor) -> None:
        """Store the losses of the current step in row ``row``, an int64 tensor ``[1]`` on the device."""


class TrainingStep:
    """Function that trains the network on one batch.

    A call makes the views, computes the loss and its gradients, updates the weights, and undoes the step if a value is
    not finite. All values that differ between steps are in ``StepInputs``.

    Args:
        assembly: the assembled recipe.
        hardware: device, precision and memory format.
        optimizer: the PyTorch optimizer of the method's parameters.
        views: makes the views.
        recorder: receives the losses; if None, losses are not recorded.
        backward: computes the gradients of the loss.

    Attributes:
        average: averages gradients over all processes.
        guard: undoes non-finite steps.
    """

    def __init__(
        self,
        assembly: Assembly,
        hardware: Hardware,
        optimizer: torch.optim.Optimizer,
        views: ViewMaker,
        recorder: Recorder | None = None,
        backward: Callable[[Tensor], None] = Tensor.backward,
    ) -> None:
        self.method: Method = assembly.method
        self.views = views
        self.hardware = hardware
        self.global_views = assembly.context.global_view_count
        self.steps_per_epoch = assembly.context.steps_per_epoch
        self.optimizer = optimizer
        self.backward = backward
        self.recorder = recorder
        self.average = GradientAverage(assembly.method, assembly.context.world)
        self.guard = NonFiniteGuard(assembly.method)

    def __call__(self, inputs: StepInputs, position: int) -> MethodOutput:
        """Take a step and return the method's output without its autograd graph.

        Args:
            inputs: the inputs.
            position: the step that losses and schedules use; see ``Position.step``.
        """
        self.guard.before_step()
        self.optimizer.zero_grad()
        output = self.forward(inputs, position)
        self.backward(output.loss)
        # The autograd graph is released here, because it refers to the stream on which it was made.
        output = replace(output, loss=output.loss.detach())
        mean_loss = self.average(output.loss, position)
        self.method.after_backward(position)
        self.guard.check(mean_loss, inputs.number)
        self.optimizer.step()
        if not self.guard.skips_step:
            self.method.after_step()
        self.guard.after_step()
        if self.recorder is not None:
            self.recorder.record(output, inputs.row)
        return output

    def forward(self, inputs: StepInputs, position: int) -> MethodOutput:
        """Return the method's output for the views of a batch."""
        batch = Batch(
            views=self.views(inputs),
            global_views=self.global_views,
            index=inputs.index,
            step=position,
            epoch=position // self.steps_per_epoch,
            scheduled=inputs.scheduled,
        )
        with autocast(self.hardware), small_map_gradients(self.hardware.device):
            output: MethodOutput = self.method(batch)
        return output


def autocast(hardware: Hardware) -> torch.autocast:
    """Return a context manager for the network's forward pass in the precision of training."""
    return torch.autocast(hardware.device, dtype=torch.bfloat16, enabled=hardware.precision == "bfloat16")


class ViewMaker:
    """Callable that makes the views of a batch on the device.

    Args:
        assembly: the assembled recipe.
        hardware: device, precision and memory format.
    """

    def __init__(self, assembly: Assembly, hardware: Hardware) -> None:
        self.assembly = assembly
        self.hardware = hardware
        self.components_checked = False

    def __call__(self, inputs: StepInputs) -> tuple[Tensor, ...]:
        """Return the views of this process's images and of their positives.

        Returns:
            One tensor ``[V * (1 + P), B, C, S, S]`` for each group of V views, the views of the images before those of
            their P positives. With a frozen backbone, one tensor ``[V * (1 + P), B, D]``.
        """
        rows = self.assembly.loader.images
        images = gather_rows(rows, inputs.index) if inputs.images is None else inputs.images
        positives = inputs.positive_images
        if positives is None and inputs.positives is not None:
            positives = gather_rows(rows, inputs.positives)
        each = (images, *(() if positives is None else positives.unbind(1)))
        if self.assembly.frozen is not None:
            counts = [group.count for group in self.assembly.views.groups]
            sets = [features.transpose(0, 1).split(counts) for features in each]
        else:
            sets = [self._augment(*pair) for pair in zip(each, inputs.parameters, strict=True)]
        groups = sets[0] if len(sets) == 1 else tuple(torch.cat(views) for views in zip(*sets, strict=True))
        if not self.components_checked:
            check_heads(self.assembly, images.device)
            self.components_checked = True
        return groups

    def _augment(self, images: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
        """Return the views of images ``[B, C, H, W]``."""
        with torch.no_grad():
            groups = self.assembly.views.apply(images, parameters)
        if not self.components_checked:
            check_images(self.assembly, images)
            check_views(self.assembly, groups, len(images))
        if not self.hardware.channels_last:
            return groups
        return tuple(
            group.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, group.shape[:2])
            for group in groups
        )
