"""Lightning module that trains a method: makes views, computes the loss and updates the weights."""

from __future__ import annotations

import tomllib
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.assembly.trainable import keep_frozen_parts_in_eval_mode
from sslkit.contracts.method import Batch, MethodOutput
from sslkit.contracts.optimizer import ParameterGroup
from sslkit.contracts.views import move_parameters, slice_parameters
from sslkit.data.loader import ImageBatch
from sslkit.data.seeds import seeded_generator
from sslkit.device.hardware import Hardware
from sslkit.device.small_feature_maps import small_map_gradients
from sslkit.optimizers.parameter_groups import parameter_groups
from sslkit.training.compilation import CompiledBackbones
from sslkit.training.first_batch_checks import check_heads, check_images, check_views
from sslkit.training.guard import NonFiniteGuard
from sslkit.training.schedule_restart import restart_schedule


class Learner(pl.LightningModule):
    """Lightning module that trains the method of an assembly.

    For Lightning, the whole training run is one epoch, and sslkit counts epochs from optimizer steps. Training then
    always resumes in the middle of a Lightning epoch, without special cases.

    Attributes:
        last_output: output of the method in the latest step.
        guard: undoes non-finite steps. None before the first step, because the method may not be on its device yet.
        compiled: the compiled backbones; None if ``train.compile`` is false.
    """

    def __init__(self, assembly: Assembly, hardware: Hardware) -> None:
        super().__init__()
        self.assembly = assembly
        self.hardware = hardware
        self.method = assembly.method
        self.last_output = MethodOutput(torch.zeros(()))
        self.components_checked = False
        self.guard: NonFiniteGuard | None = None
        if hardware.channels_last:
            self.method.to(memory_format=torch.channels_last)
        self.compiled = CompiledBackbones(self.method) if assembly.recipe.train.compile else None
        self.optimizer_changed = False
        """Whether the recipe's optimizer differs from that of the checkpoint."""

    @property
    def position(self) -> int:
        """Trained epochs times the current steps per epoch, as in ``Position.step``; used by schedules and losses."""
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
        """Return the views of this process's images and of their positives.

        Args:
            batch: this process's part of the global batch.
            step: number of optimizer steps taken; seeds the random parameters.

        Returns:
            One tensor ``[V * (1 + P), B, C, S, S]`` for each group of V views, the views of the images before those of
            their P positives. With a frozen backbone, one tensor ``[V * (1 + P), B, D]``.
        """
        positives = () if batch.positives is None else batch.positives.unbind(1)
        if self.assembly.frozen is not None:
            counts = [group.count for group in self.assembly.views.groups]
            sets = [features.transpose(0, 1).split(counts) for features in (batch.images, *positives)]
        else:
            sets = [self._augment(images, step, number) for number, images in enumerate((batch.images, *positives))]
        groups = sets[0] if len(sets) == 1 else tuple(torch.cat(views) for views in zip(*sets, strict=True))
        if not self.components_checked:
            check_heads(self.assembly, batch.images.device)
            self.components_checked = True
        return groups

    def _augment(self, images: Tensor, step: int, number: int) -> tuple[Tensor, ...]:
        """Return the views of images ``[B, C, H, W]``.

        ``number`` selects the random stream: 0 for the images of the batch, p for the p-th positive of each image.
        Every process draws parameters for the global batch and uses only its own images' parameters, so that views do
        not depend on the number of processes.
        """
        context, views = self.assembly.context, self.assembly.views
        generator = seeded_generator(context.seed, "views", context.steps_before + step, number)
        drawn = views.draw(context.batch_size, generator)
        start = context.world.rank * len(images)
        parameters = move_parameters(slice_parameters(drawn, start, start + len(images)), images.device)
        # Views need float32; the autocast of Lightning is for the network.
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            groups = views.apply(images, parameters)
        if not self.components_checked:
            check_images(self.assembly, images)
            check_views(self.assembly, groups, len(images))
        if not self.hardware.channels_last:
            return groups
        return tuple(
            group.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, group.shape[:2])
            for group in groups
        )

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        self.guard = self.guard or NonFiniteGuard(self.method, self.assembly.context.world)
        self.guard.before_step()
        try:
            inputs = Batch(
                views=self.make_views(batch, int(self.global_step)),
                global_views=self.assembly.context.global_view_count,
                index=batch.indices,
                step=self.position,
                epoch=self.epochs_completed,
            )
            with small_map_gradients(self.hardware.device):
                self.last_output = self.method(inputs)
        except StopIteration as error:
            # Lightning would interpret StopIteration as the end of the data and finish the run.
            raise RuntimeError("a component raised StopIteration in a training step") from error
        return self.last_output.loss

    def on_after_backward(self) -> None:
        self.method.after_backward(self.position)
        assert self.guard is not None
        self.guard.check(self.last_output.loss, int(self.global_step) + 1)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        assert self.guard is not None
        if not self.guard.skips_step:
            self.method.after_step()
        self.guard.after_step()

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
