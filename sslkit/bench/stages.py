"""Stages that ``sslkit bench`` times: a training step of the backbone alone, to which each later stage adds a part."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.method import Batch, MethodOutput
from sslkit.data.loader import ImageBatch
from sslkit.device.hardware import Hardware
from sslkit.device.small_feature_maps import small_map_gradients
from sslkit.optimizers.parameter_groups import parameter_groups
from sslkit.training.learner import Learner
from sslkit.training.step.captured_step import EAGER_STEPS, CapturedStep, learning_rates
from sslkit.training.step.inputs import StepInputs
from sslkit.training.step.stepper import choose_graphs
from sslkit.training.step.training_step import autocast

STAGES = ("backbone", "model", "views", "data")
"""Names of the stages. The first stage is the backbone alone; later stages add heads and
losses, then views, then data."""


class StageStep:
    """The part of a training step that a stage runs, as a function of tensors on the device.

    A frozen backbone has nothing to train, so the stage ``backbone`` then runs the heads and the losses instead.

    Args:
        stage: name of the stage.
        learner: the Lightning module, on its device.
        optimizer: optimizer of the learner's parameters.
        views: precomputed views, for stages without augmentation.
    """

    def __init__(
        self, stage: str, learner: Learner, optimizer: torch.optim.Optimizer, views: tuple[Tensor, ...]
    ) -> None:
        self.only_backbone = stage == "backbone" and learner.assembly.frozen is None
        self.makes_views = stage in ("views", "data")
        self.learner = learner
        self.method = learner.method
        self.optimizer = optimizer
        self.views = views

    def __call__(self, inputs: StepInputs, position: int) -> MethodOutput:
        """Run the stage's part of a step and return the loss; ``position`` is the number of completed steps."""
        method, hardware, context = self.method, self.learner.hardware, self.learner.assembly.context
        self.optimizer.zero_grad()
        views = self.learner.views(inputs) if self.makes_views else self.views
        with autocast(hardware), small_map_gradients(hardware.device):
            if self.only_backbone:
                loss = torch.stack([method.backbone(group.flatten(0, 1)).float().mean() for group in views]).sum()
            else:
                epoch = position // context.steps_per_epoch
                batch = Batch(views, context.global_view_count, inputs.index, position, epoch, inputs.scheduled)
                loss = method(batch).loss
        loss.backward()
        if not self.only_backbone:
            method.after_backward(position)
        self.optimizer.step()
        if not self.only_backbone:
            method.after_step()
        return MethodOutput(loss.detach())


class StageRunner:
    """Runner that takes partial training steps (stages, such as the backbone alone) on a copy of the network.

    Each stage counts its steps from 0. Frozen prototypes and losses with a start epoch therefore start to train after
    the same number of steps as in training. If training runs its steps as CUDA graphs, the stages do as well, so that
    the times are comparable.
    """

    def __init__(self, assembly: Assembly, hardware: Hardware) -> None:
        self.assembly = replace(assembly, method=copy.deepcopy(assembly.method))
        self.device = torch.device(hardware.device)
        self.learner = Learner(self.assembly, hardware).to(self.device)
        self.optimizer = assembly.optimizer.build(parameter_groups(self.learner.method, assembly.lr_scales))
        self.graphs = choose_graphs(self.assembly, hardware.device, lambda text: None)
        self.loader = copy.copy(assembly.loader)
        self.loader.stop = assembly.context.total_steps
        self.batches = self._fetch()
        self.batch = next(self.batches)
        self.inputs = self._write(self.batch, 0)
        self.views = self.learner.views(self.inputs)
        self.stage = ""
        self.run: Callable[[StepInputs, int], MethodOutput]
        self.steps = Counter[str]()
        """Number of steps taken in each stage."""

    def _fetch(self) -> Iterator[ImageBatch]:
        while True:
            yield from self.loader

    def _write(self, batch: ImageBatch, position: int) -> StepInputs:
        values = self.learner.method.all_scheduled(position) | learning_rates(self.optimizer)
        return self.learner.writer.write(batch, position, scheduled=values)

    def start(self, stage: str) -> None:
        """Choose the stage of the next steps.

        If steps run as CUDA graphs, free the graph of the previous stage, and take steps until a graph is captured. The
        time of the capture is then not part of the measured times.
        """
        self.stage = stage
        step = StageStep(stage, self.learner, self.optimizer, self.views)
        if self.graphs is None:
            self.run = step
            return
        self.run = CapturedStep(step, self.graphs, lambda text: None)
        for _ in range(EAGER_STEPS + 1):
            self.step()

    def step(self) -> None:
        """Take a step of the chosen stage.

        Stages before ``data`` reuse the first batch. Stages before ``views`` also reuse the views of this batch.
        """
        position = self.steps[self.stage]
        self.steps[self.stage] += 1
        inputs = self.inputs
        if self.stage in ("views", "data"):
            inputs = self._write(next(self.batches) if self.stage == "data" else self.batch, position)
        self.run(inputs, position)

    def synchronize(self) -> None:
        """Wait until the device has finished all operations, so that measured times include them."""
        synchronize(self.device)


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished all operations, so that measured times include them."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()
