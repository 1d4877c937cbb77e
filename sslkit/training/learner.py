"""Lightning module that trains a method: it makes views, computes the loss and updates the weights."""

from __future__ import annotations

import tomllib
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.method import Batch, MethodOutput
from sslkit.contracts.views import move_parameters, slice_parameters
from sslkit.data.loader import ImageBatch
from sslkit.data.seeds import seeded_generator
from sslkit.device.hardware import Hardware
from sslkit.device.small_feature_maps import small_map_gradients
from sslkit.optimizers.parameter_groups import parameter_groups
from sslkit.training.compilation import CompiledBackbones
from sslkit.training.first_batch_checks import check_heads, check_images, check_views
from sslkit.training.guard import NonFiniteGuard


class Learner(pl.LightningModule):
    """Lightning module that trains the method of an assembly.

    Epochs are counted from optimizer steps. For Lightning a training is one long epoch, so that every resume is in the
    middle of an epoch and needs no special cases.

    Attributes:
        last_output: output of the last step.
        guard: undoes non-finite steps; None before the first step, when the method may still move to its device.
        compiled: the compiled backbones; None without ``train.compile``.
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
        self.group_options: list[dict[str, Any]] = []
        """The recipe's options of each parameter group, without the learning rate."""
        self.optimizer_changed = False
        """Whether the recipe's optimizer differs from that of the checkpoint."""

    @property
    def epochs_completed(self) -> int:
        """Number of completed epochs."""
        return int(self.global_step) // self.assembly.context.steps_per_epoch

    def make_views(self, images: Tensor, step: int) -> tuple[Tensor, ...]:
        """Return the views of this process's images ``[B, C, H, W]`` of the batch of a step.

        Every process draws parameters for the global batch and uses its own part, so that views do not depend on the
        number of processes.
        """
        context, views = self.assembly.context, self.assembly.views
        drawn = views.draw(context.batch_size, seeded_generator(context.seed, "views", context.steps_before + step))
        start = context.world.rank * len(images)
        parameters = move_parameters(slice_parameters(drawn, start, start + len(images)), images.device)
        # Geometry and colour need float32; the caller's autocast is for the network.
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            groups = views.apply(images, parameters)
        if not self.components_checked:
            check_images(self.assembly, images)
            check_views(self.assembly, groups, len(images))
            check_heads(self.assembly, images.device)
            self.components_checked = True
        if not self.hardware.channels_last:
            return groups
        return tuple(
            group.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, group.shape[:2])
            for group in groups
        )

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        step = int(self.global_step)
        self.guard = self.guard or NonFiniteGuard(self.method, self.assembly.context.world)
        self.guard.before_step()
        try:
            inputs = Batch(
                views=self.make_views(batch.images, step),
                global_views=self.assembly.views.global_views,
                index=batch.indices,
                step=step,
                epoch=self.epochs_completed,
            )
            with small_map_gradients(self.hardware.device):
                self.last_output = self.method(inputs)
        except StopIteration as error:
            # Lightning would take it for the end of the data and finish the run.
            raise RuntimeError("a component raised StopIteration in a training step") from error
        return self.last_output.loss

    def on_after_backward(self) -> None:
        step = int(self.global_step)
        self.method.after_backward(step)
        assert self.guard is not None
        self.guard.check(self.last_output.loss, step + 1)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        assert self.guard is not None
        if not self.guard.skips_step:
            self.method.after_step()
        self.guard.after_step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self.assembly.recipe.to_toml()
        checkpoint["processes"] = self.assembly.context.world.size

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        before, now = tomllib.loads(checkpoint["recipe"]), self.assembly.recipe.resolved()
        self.optimizer_changed = before.get("optimizer") != now["optimizer"]

    def on_train_start(self) -> None:
        # torch restores the options of the checkpoint's recipe. Without a change they stay: a schedule may have moved
        # more than the learning rate.
        if self.optimizer_changed:
            for group, options in zip(self.trainer.optimizers[0].param_groups, self.group_options, strict=True):
                group.update(options)

    def configure_optimizers(self) -> Any:
        optimizer = self.assembly.optimizer.build(parameter_groups(self.method))
        scheduler = self.assembly.optimizer.schedule(optimizer)
        self.group_options = [
            {name: value for name, value in group.items() if name not in ("params", "lr")}
            for group in optimizer.param_groups
        ]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
