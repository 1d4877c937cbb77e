"""Lightning module that trains a method: makes views, computes the loss and updates the weights."""

from __future__ import annotations

import tomllib
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from sslkit.assembly.assemble import Assembly
from sslkit.assembly.trainable import keep_frozen_parts_in_eval_mode
from sslkit.contracts.method import MethodOutput
from sslkit.contracts.optimizer import ParameterGroup
from sslkit.data.loader import ImageBatch
from sslkit.device.hardware import Hardware
from sslkit.optimizers.parameter_groups import parameter_groups
from sslkit.training.compilation import CompiledBackbones
from sslkit.training.schedule_restart import restart_schedule
from sslkit.training.step.inputs import InputWriter
from sslkit.training.step.stepper import Stepper, choose_graphs
from sslkit.training.step.training_step import Recorder, TrainingStep, ViewMaker


class Learner(pl.LightningModule):
    """Lightning module that trains the method of an assembly.

    For Lightning, the whole training run is one epoch, and sslkit counts epochs from optimizer steps. Training then
    always resumes in the middle of a Lightning epoch, without special cases.

    Attributes:
        last_output: output of the method in the latest step.
        stepper: takes the steps. None before the first step.
        recorder: receives the losses of each step.
        compiled: the compiled backbones, or None if ``train.compile`` is false.
    """

    def __init__(self, assembly: Assembly, hardware: Hardware) -> None:
        super().__init__()
        self.assembly = assembly
        self.hardware = hardware
        self.method = assembly.method
        self.last_output = MethodOutput(torch.zeros(()))
        # The step itself computes gradients and updates weights, so that a GPU can capture all of its work.
        self.automatic_optimization = False
        self.views = ViewMaker(assembly, hardware)
        self.stepper: Stepper | None = None
        self.recorder: Recorder | None = None
        if hardware.channels_last:
            self.method.to(memory_format=torch.channels_last)
        self.compiled = CompiledBackbones(self.method) if assembly.recipe.train.compile else None
        self.optimizer_changed = False
        """Whether the recipe's optimizer differs from that of the checkpoint."""

    @cached_property
    def writer(self) -> InputWriter:
        """Writer of the inputs, created on first use, when the module is on the training device."""
        return InputWriter(self.assembly, self.device)

    @property
    def position(self) -> int:
        """Step for schedules and losses: trained epochs times the current steps per epoch; see ``Position.step``."""
        return int(self.global_step) - self.assembly.context.step_offset

    @property
    def epochs_completed(self) -> int:
        """Number of completed epochs."""
        return self.position // self.assembly.context.steps_per_epoch

    def train(self, mode: bool = True) -> Learner:
        super().train(mode)
        keep_frozen_parts_in_eval_mode(self.method)
        return self

    def make_views(self, batch: ImageBatch, step: int) -> tuple[Tensor, ...]:
        """Return the views of this process's images and of their positives; for shapes see ``ViewMaker``.

        Args:
            batch: this process's part of the global batch.
            step: number of optimizer steps taken; seeds the random parameters.
        """
        return self.views(self.writer.write(batch, step))

    def transfer_batch_to_device(self, batch: ImageBatch, device: torch.device, dataloader_idx: int) -> ImageBatch:
        return batch  # the step copies all of its inputs together

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        if self.stepper is None:
            self.stepper = self._build_stepper()
        try:
            self.last_output = self.stepper.take(batch, int(self.global_step), self.position)
        except StopIteration as error:
            # Lightning would interpret StopIteration as the end of the data and finish the run.
            raise RuntimeError("a component raised StopIteration in a training step") from error
        count_step(self.trainer)
        schedule: LRScheduler = self.trainer.lr_scheduler_configs[0].scheduler
        schedule.step()
        return self.last_output.loss

    def _build_stepper(self) -> Stepper:
        """Build the stepper. The method must be on its device, and a checkpoint must already be loaded."""
        assert self.recorder is not None
        graphs = choose_graphs(self.assembly, self.hardware.device, self.recorder.note)
        step = TrainingStep(self.assembly, self.hardware, self.trainer.optimizers[0], self.views, self.recorder)
        if graphs is not None:
            self.writer = InputWriter(self.assembly, self.device, packed=True)
        return Stepper(step, self.writer, graphs, self.recorder.note)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self.assembly.recipe.to_toml()
        context = self.assembly.context
        checkpoint["processes"] = context.world.size
        checkpoint["positives"] = {"images": context.training_images, "prepared": dict(self.assembly.positives)}
        checkpoint["preprocessing"] = vars(self.assembly.preprocessing)
        checkpoint["position"] = {
            "step": self.position,
            "steps_per_epoch": context.steps_per_epoch,
            "epochs": context.epochs,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        before, now = tomllib.loads(checkpoint["recipe"]), self.assembly.recipe.resolved()
        self.optimizer_changed = before.get("optimizer") != now["optimizer"]

    def on_train_start(self) -> None:
        # The checkpoint has restored its own optimizer options and its schedule, computed for the old length.
        if self.optimizer_changed or self.assembly.length_changed:
            restart_schedule(
                self.trainer.optimizers[0],
                self.trainer.lr_scheduler_configs[0].scheduler,
                self.assembly.optimizer,
                self._parameter_groups(),
                self.position,
                replace_options=self.optimizer_changed,
            )

    def _parameter_groups(self) -> tuple[ParameterGroup, ...]:
        return parameter_groups(self.method, self.assembly.lr_scales)

    def configure_optimizers(self) -> Any:
        optimizer = self.assembly.optimizer.build(self._parameter_groups())
        scheduler = self.assembly.optimizer.schedule(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def count_step(trainer: pl.Trainer) -> None:
    """Add 1 to Lightning's step count, because a training step does not call ``LightningOptimizer.step``."""
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()
