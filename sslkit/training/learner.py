"""The learner: what Lightning runs.  One step draws the views, asks the method for the loss, and updates."""

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
from sslkit.data.seeds import generator
from sslkit.device.hardware import Hardware
from sslkit.device.small_feature_maps import small_map_gradients
from sslkit.optimizers.groups import parameter_groups
from sslkit.training.compile import CompiledBackbones
from sslkit.training.first_batch_checks import check_heads, check_images, check_views
from sslkit.training.guard import Guard


class Learner(pl.LightningModule):
    """Trains the method of an assembly.

    Epochs are counted from optimizer steps: to Lightning a whole training is one long epoch, so that a resume always
    lands in the middle of one and has no special cases.
    """

    def __init__(self, assembly: Assembly, hardware: Hardware) -> None:
        super().__init__()
        self.assembly = assembly
        self.hardware = hardware
        self.method = assembly.method
        self.output = MethodOutput(torch.zeros(()))
        """Result of the latest step."""
        self.checked = False
        self.guard: Guard | None = None
        """From the first step on, when the method is where it is trained."""
        if hardware.channels_last:
            self.method.to(memory_format=torch.channels_last)
        self.compiled = CompiledBackbones(self.method) if assembly.recipe.train.compile else None
        self.settings: list[dict[str, Any]] = []
        """What each parameter group is given by the recipe, besides its learning rate."""
        self.changed = False
        """Whether the recipe is another than that of the checkpoint it goes on from."""

    @property
    def epochs_done(self) -> int:
        """Epochs completed."""
        return int(self.global_step) // self.assembly.context.steps_per_epoch

    def make_views(self, images: Tensor, step: int) -> tuple[Tensor, ...]:
        """Views of this process's part ``[B, C, H, W]`` of the batch of a step.

        Every process draws for the global batch and keeps its own part, so the views do not depend on how many
        processes share it.
        """
        context, views = self.assembly.context, self.assembly.views
        drawn = views.draw(context.batch_size, generator(context.seed, "views", context.steps_before + step))
        start = context.world.rank * len(images)
        parameters = move_parameters(slice_parameters(drawn, start, start + len(images)), images.device)
        # Geometry and colour need float32: the caller's autocast is for the network.
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            made = views.apply(images, parameters)
        if not self.checked:
            check_images(self.assembly, images)
            check_views(self.assembly, made, len(images))
            check_heads(self.assembly, images.device)
            self.checked = True
        if not self.hardware.channels_last:
            return made
        return tuple(
            group.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, group.shape[:2])
            for group in made
        )

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        step = int(self.global_step)
        self.guard = self.guard or Guard(self.method, self.assembly.context.world)
        self.guard.begin()
        try:
            made = Batch(
                views=self.make_views(batch.images, step),
                global_views=self.assembly.views.global_views,
                index=batch.indices,
                step=step,
                epoch=self.epochs_done,
            )
            with small_map_gradients(self.hardware.device):
                self.output = self.method(made)
        except StopIteration as error:
            # Lightning would take it for the end of the data, and the run for finished.
            raise RuntimeError("a component raised StopIteration in a training step") from error
        return self.output.loss

    def on_after_backward(self) -> None:
        step = int(self.global_step)
        self.method.after_backward(step)
        assert self.guard is not None
        self.guard.judge(self.output.loss, step + 1)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        assert self.guard is not None
        if not self.guard.skips:
            self.method.after_step()
        self.guard.end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self.assembly.recipe.to_toml()
        checkpoint["processes"] = self.assembly.context.world.size

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        before, now = tomllib.loads(checkpoint["recipe"]), self.assembly.recipe.resolved()
        self.changed = before.get("optimizer") != now["optimizer"]

    def on_train_start(self) -> None:
        # torch restores the groups as they were saved, with the options of the recipe of that time.  Where
        # these are the same they stay so: a schedule may have moved more than the learning rate.
        if self.changed:
            for group, settings in zip(self.trainer.optimizers[0].param_groups, self.settings, strict=True):
                group.update(settings)

    def configure_optimizers(self) -> Any:
        optimizer = self.assembly.optimizer.build(parameter_groups(self.method))
        scheduler = self.assembly.optimizer.schedule(optimizer)
        self.settings = [
            {name: value for name, value in group.items() if name not in ("params", "lr")}
            for group in optimizer.param_groups
        ]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
