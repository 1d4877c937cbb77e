"""Training steps on a fake GPU: every tensor is on the right device, and the host never syncs the device.

Fake CUDA tensors have no autograd, so gradients are made up. A second test runs the same steps with real tensors on
the CPU, including the backward pass, and fails if a tensor value is read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shipped_recipes import FROZEN, RECIPES, SHIPPED, SMALL_LOSS, in_one_epoch
from torch import Tensor

from sslkit.assembly.assemble import assemble
from sslkit.contracts.method import MethodOutput
from sslkit.data.store import TensorStore
from sslkit.device.hardware import Hardware
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.testing.fake_device import DeviceSyncError, ForbidDeviceSync, fake_device
from sslkit.training.callback import RunCallback
from sslkit.training.distributed.processes import Processes
from sslkit.training.distributed.signals import StopSignal
from sslkit.training.events import Reporter
from sslkit.training.learner import Learner
from sslkit.training.monitor.loss_accumulator import LossAccumulator
from sslkit.training.monitor.validation import ValidationMonitor
from sslkit.training.step.inputs import InputWriter
from sslkit.training.step.stepper import Stepper
from sslkit.training.step.training_step import TrainingStep

BATCH_SIZE = 8
SMALL = ["backbone={use='convnet', width=2}", f"train.batch_size={BATCH_SIZE}", "monitor.every_epochs=0"]


@pytest.fixture
def training(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Learner, RunCallback]:
    """Recipe on digits, with a small backbone, all view effects, and all losses active in the first epoch."""
    settings = [*SMALL, *in_one_epoch(request.param), *SMALL_LOSS.get(request.param, [])]
    assembly = assemble(load_recipe(RECIPES / f"{request.param}.toml", settings))
    learner = Learner(assembly, Hardware("cuda", "float32", channels_last=True, reason="fake"))
    run = Run.create(tmp_path, "step")
    return learner, RunCallback(run, learner, Processes(), ValidationMonitor(assembly), Reporter(), StopSignal())


def take_two_steps(learner: Learner, callback: RunCallback, images: Tensor, backward: Callable[[Tensor], None]) -> None:
    """Run two steps as Lightning does, from the batch to the accumulated losses."""
    loader = learner.assembly.loader
    loader.images, loader.stop, loader.reads_images = TensorStore(images), 2, False
    configured = learner.configure_optimizers()
    step = TrainingStep(learner.assembly, learner.hardware, configured["optimizer"], learner.views, callback, backward)
    step.guard.may_sync = False
    stepper = Stepper(step, InputWriter(learner.assembly, images.device, packed=False))
    for number, batch in enumerate(loader):
        assert batch.images is None
        stepper.take(batch, number, number)
        configured["lr_scheduler"]["scheduler"].step()
        callback.writer.losses.step_taken()
    pending = callback.writer.losses.pending
    assert {row.device.type for row in pending} == {images.device.type}
    assert len(pending) == 2


@pytest.mark.parametrize("training", [name for name in SHIPPED if name not in FROZEN], indirect=True)
def test_a_step_on_an_accelerator_never_syncs(training: tuple[Learner, RunCallback]) -> None:
    learner, callback = training
    store = learner.assembly.images
    assert isinstance(store, TensorStore)
    with fake_device() as (device, _):
        device.move(learner.method)

        def invent_gradients(loss: Tensor) -> None:
            assert loss.requires_grad
            for parameter in learner.method.parameters():
                if parameter.requires_grad:
                    parameter.grad = torch.empty_like(parameter)

        losses = callback.writer.losses
        losses.epoch_loss = device.tensor(losses.epoch_loss)  # as when training starts
        take_two_steps(learner, callback, device.tensor(store.images), invent_gradients)


@pytest.mark.parametrize("training", ["quickstart", "swav", "byol"], indirect=True)
def test_a_step_with_its_backward_pass_reads_no_value(training: tuple[Learner, RunCallback]) -> None:
    learner, callback = training
    store = learner.assembly.images
    assert isinstance(store, TensorStore)
    with ForbidDeviceSync():  # on a CPU, the guard may read values
        take_two_steps(learner, callback, store.images, Tensor.backward)


def test_a_sync_is_an_error_on_the_fake_device() -> None:
    pixels = TensorStore(torch.zeros(4, 1, 2, 2, dtype=torch.uint8))
    with (
        pytest.raises(DeviceSyncError, match="without non_blocking=True"),
        fake_device() as (device, _),
    ):
        device.tensor(pixels.images).index_select(0, torch.arange(2).to("cuda"))
    with pytest.raises(DeviceSyncError, match="a tensor is copied to the host"), fake_device() as (device, _):
        device.tensor(pixels.images).cpu()


def test_a_term_on_the_cpu_is_accumulated_without_a_sync() -> None:
    with fake_device() as (device, _):
        losses = LossAccumulator()
        losses.epoch_loss = device.tensor(losses.epoch_loss)
        losses.add(
            MethodOutput(device.tensor(torch.ones(())), {"queue": torch.full((), 0.5)}),
            device.tensor(torch.zeros(1, dtype=torch.int64)),
        )
        losses.step_taken()
        (row,) = losses.pending
        assert (row.device.type, row.shape) == ("cuda", (2,))
