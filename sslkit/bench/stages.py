"""Stages of ``sslkit bench``: training steps with some parts, from the backbone alone to all parts except Lightning."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import torch

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.method import Batch
from sslkit.data.loader import ImageBatch
from sslkit.device.hardware import Hardware
from sslkit.device.small_feature_maps import small_map_gradients
from sslkit.optimizers.parameter_groups import parameter_groups
from sslkit.training.learner import Learner

STAGES = ("backbone", "model", "views", "data")
"""Names of the stages. The first stage is the backbone alone; later stages add heads and
losses, then views, then data."""


class StageRunner:
    """Runner that takes single steps of any stage on a copy of the assembly's network.

    Each stage counts its steps from 0. Frozen prototypes and losses with a start epoch therefore start to train after
    the same number of steps as in training.
    """

    def __init__(self, assembly: Assembly, hardware: Hardware) -> None:
        self.assembly = replace(assembly, method=copy.deepcopy(assembly.method))
        self.device = torch.device(hardware.device)
        self.learner = Learner(self.assembly, hardware).to(self.device)
        self.autocast = hardware.precision == "bfloat16"
        self.optimizer = assembly.optimizer.build(parameter_groups(self.learner.method, assembly.lr_scales))
        self.loader = copy.copy(assembly.loader)
        self.loader.stop = assembly.context.total_steps
        self.batches = self._fetch()
        self.batch = next(self.batches)
        self.views = self.learner.make_views(self.batch, step=0)
        self.steps = Counter[str]()
        """Number of steps taken in each stage."""

    def _fetch(self) -> Iterator[ImageBatch]:
        while True:
            for batch in self.loader:
                yield batch.to(self.device)

    def step(self, stage: str) -> None:
        """Run one step of a stage.

        Stages before ``data`` reuse the first batch. Stages before ``views`` also reuse the views of this batch. With a
        frozen backbone, the stage ``backbone`` runs the heads and the losses.
        """
        only_backbone = stage == "backbone" and self.assembly.frozen is None
        step = self.steps[stage]
        self.steps[stage] += 1
        batch = next(self.batches) if stage == "data" else self.batch
        views = self.learner.make_views(batch, step) if stage in ("views", "data") else self.views
        method = self.learner.method
        self.optimizer.zero_grad()
        autocast = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast)
        with autocast, small_map_gradients(self.device.type):
            if only_backbone:
                loss = torch.stack([method.backbone(group.flatten(0, 1)).float().mean() for group in views]).sum()
            else:
                epoch = step // self.assembly.context.steps_per_epoch
                loss = method(Batch(views, self.assembly.context.global_view_count, batch.indices, step, epoch)).loss
        loss.backward()
        if not only_backbone:
            method.after_backward(step)
        self.optimizer.step()
        if not only_backbone:
            method.after_step()

    def synchronize(self) -> None:
        """Wait until the device has finished all operations."""
        synchronize(self.device)


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished all operations."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()
