"""Inputs of a training step: the images and all random and scheduled values, on the device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.schedule import as_tensors
from sslkit.contracts.views import Parameters, slice_parameters
from sslkit.data.loader import ImageBatch
from sslkit.data.seeds import seeded_generator
from sslkit.training.step.packed_buffer import PackedBuffer, layout

CPU = torch.device("cpu")


@dataclass(frozen=True)
class StepInputs:
    """Tensors on the device that differ between steps.

    Attributes:
        index: int64 ``[B]``, indices of this process's B images.
        positives: int64 ``[B, P]``, indices of the P positives of each image, or None without positives.
        images: images or features ``[B, ...]``, or None if the step reads them by ``index``.
        positive_images: like ``images``, but ``[B, P, ...]``, or None without positives or ``images``.
        parameters: view parameters of the images, then of the first positive of each image, and so on. Empty with a
            frozen backbone.
        number: int64 scalar, number of this optimizer step, counted from 1.
        row: int64 ``[1]``, row of the loss accumulator for this step.
        scheduled: mapping from name to a tensor, the values that ``Method.all_scheduled`` returns, and learning rates.
    """

    index: Tensor
    positives: Tensor | None
    images: Tensor | None
    positive_images: Tensor | None
    parameters: tuple[Parameters, ...]
    number: Tensor
    row: Tensor
    scheduled: Mapping[str, Tensor]


class InputWriter:
    """Writer of the inputs of each step.

    On a GPU, all inputs are in one ``PackedBuffer``, so that a step needs one copy from the host.

    Args:
        assembly: the assembled recipe.
        device: the training device.
        packed: whether to copy all inputs into one buffer. None means True on a GPU and False on other devices.

    Attributes:
        buffer: the packed inputs, or None before the first step, or if inputs are not packed.
    """

    def __init__(self, assembly: Assembly, device: torch.device, packed: bool | None = None) -> None:
        self.assembly = assembly
        self.device = device
        self.packed = device.type == "cuda" if packed is None else packed
        self.buffer: PackedBuffer | None = None
        self.inputs: StepInputs | None = None
        """The inputs in ``buffer``, which all steps share."""

    def write(
        self, batch: ImageBatch, step: int, row: int = 0, scheduled: Mapping[str, float | Tensor] | None = None
    ) -> StepInputs:
        """Copy the inputs of a step to the device and return them.

        Args:
            batch: this process's part of the global batch.
            step: number of optimizer steps taken; seeds the view parameters.
            row: row of the loss accumulator.
            scheduled: mapping from name to value; see ``StepInputs.scheduled``.
        """
        scheduled = scheduled or {}
        parameters = self._draw(batch, step) if self.assembly.frozen is None else ()
        values = {name: value for name, value in batch._asdict().items() if value is not None}
        values["counters"] = torch.tensor([step + 1, row])
        values |= {f"scheduled/{name}": value for name, value in as_tensors(scheduled, CPU).items()}
        for number, groups in enumerate(parameters):
            for group, drawn in enumerate(groups):
                values |= {f"{number}/{group}/{name}": value for name, value in drawn.items()}
        if not self.packed:
            moved = {name: value.to(self.device, non_blocking=True) for name, value in values.items()}
            return _as_inputs(moved, parameters, scheduled)
        if self.buffer is None or self.buffer.layout != layout(values):
            self.buffer = PackedBuffer(values, self.device)
            self.inputs = _as_inputs(self.buffer.tensors, parameters, scheduled)
        self.buffer.write(values)
        assert self.inputs is not None
        return self.inputs

    def _draw(self, batch: ImageBatch, step: int) -> tuple[Parameters, ...]:
        """Return the view parameters of this process's images and of each of their positives, on the CPU.

        Every process draws parameters for the global batch and uses only its own images' parameters, so that views do
        not depend on the number of processes.
        """
        context, views, count = self.assembly.context, self.assembly.views, len(batch.indices)
        start = context.world.rank * count
        positives = 0 if batch.positives is None else batch.positives.shape[1]
        return tuple(
            slice_parameters(
                views.draw(
                    context.batch_size,
                    seeded_generator(context.seed, "views", context.steps_before + step, number),
                ),
                start,
                start + count,
            )
            for number in range(1 + positives)
        )


def _as_inputs(
    tensors: Mapping[str, Tensor], parameters: tuple[Parameters, ...], scheduled: Iterable[str]
) -> StepInputs:
    """Return ``tensors`` as ``StepInputs``, with view parameters nested and named as in ``parameters``."""
    return StepInputs(
        index=tensors["indices"],
        positives=tensors.get("positives"),
        images=tensors.get("images"),
        positive_images=tensors.get("positive_images"),
        parameters=tuple(
            tuple({name: tensors[f"{number}/{group}/{name}"] for name in drawn} for group, drawn in enumerate(groups))
            for number, groups in enumerate(parameters)
        ),
        number=tensors["counters"][0],
        row=tensors["counters"][1:],
        scheduled={name: tensors[f"scheduled/{name}"] for name in scheduled},
    )
