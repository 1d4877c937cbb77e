"""A whole step on an accelerator that is not there: every device is right, and the host never waits.

Autograd cannot run on fake CUDA tensors, so gradients are made up there; a second test takes the same steps, backward
pass included, with real tensors on the CPU, and refuses there what would read a value.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shipped import RECIPES, SHIPPED, in_one_epoch
from torch import Tensor

from sslkit.assembly.assemble import assemble
from sslkit.contracts.method import MethodOutput
from sslkit.data.loader import Loader
from sslkit.data.store import TensorStore
from sslkit.device.hardware import Hardware
from sslkit.recipe.check import load_recipe
from sslkit.runs.run import Run
from sslkit.testing.accelerator import DeviceSyncError, ForbidDeviceSync, accelerator
from sslkit.training.bookkeeping import Bookkeeping
from sslkit.training.distributed.processes import Processes
from sslkit.training.distributed.signals import StopSignal
from sslkit.training.events import Reporter
from sslkit.training.guard import Guard
from sslkit.training.learner import Learner
from sslkit.training.monitor.loss_accumulator import LossAccumulator
from sslkit.training.monitor.validation import ValidationMonitor

BATCH = 8
LEAN = ["backbone={use='convnet', width=2}", f"train.batch_size={BATCH}", "monitor.every_epochs=0"]


@pytest.fixture
def books(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Learner, Bookkeeping]:
    """A recipe on digits, with a small backbone, every effect of its views, and all of its losses from the start."""
    assembly = assemble(load_recipe(RECIPES / f"{request.param}.toml", [*LEAN, *in_one_epoch(request.param)]))
    learner = Learner(assembly, Hardware("cuda", "float32", channels_last=True, reason="fake"))
    run = Run.create(tmp_path, "step")
    return learner, Bookkeeping(run, learner, Processes(), ValidationMonitor(assembly), Reporter(), StopSignal())


def take_steps(learner: Learner, books: Bookkeeping, images: Tensor, backward: Callable[[Tensor], None]) -> None:
    """What a training does in two steps, from the batch to what is kept of its losses."""
    loader = Loader(TensorStore(images), BATCH, seed=0)
    loader.stop = 2
    chosen = learner.configure_optimizers()
    for step, batch in enumerate(loader):
        moved = learner.transfer_batch_to_device(batch, images.device, 0)
        assert {tensor.device.type for tensor in moved} == {images.device.type}
        loss = learner.training_step(moved, step)
        backward(loss)
        learner.on_after_backward()
        chosen["optimizer"].step()
        learner.method.after_step()
        assert learner.guard is not None
        assert not learner.guard.skips
        learner.guard.end()
        chosen["lr_scheduler"]["scheduler"].step()
        chosen["optimizer"].zero_grad()
        books._collect(learner)
    assert {row.device.type for row in books.tally.pending} == {images.device.type}
    assert len(books.tally.pending) == 2


@pytest.mark.parametrize("books", SHIPPED, indirect=True)
def test_on_an_accelerator_a_step_is_all_there_and_never_waits(books: tuple[Learner, Bookkeeping]) -> None:
    learner, keeper = books
    store = learner.assembly.images
    assert isinstance(store, TensorStore)
    with accelerator() as (device, _):
        device.module(learner.method)

        def make_up(loss: Tensor) -> None:
            assert loss.requires_grad
            for parameter in learner.method.parameters():
                if parameter.requires_grad:
                    parameter.grad = torch.empty_like(parameter)

        keeper.tally.epoch_loss = device.tensor(keeper.tally.epoch_loss)  # as when a training starts
        take_steps(learner, keeper, device.tensor(store.images), make_up)


@pytest.mark.parametrize("books", ["quickstart", "swav", "byol"], indirect=True)
def test_a_step_with_its_backward_pass_reads_no_value(books: tuple[Learner, Bookkeeping]) -> None:
    learner, keeper = books
    store = learner.assembly.images
    assert isinstance(store, TensorStore)
    learner.guard = Guard(learner.method, learner.assembly.context.world)
    learner.guard.host_looks = False  # as on an accelerator: on processors looking costs nothing, and it does
    with ForbidDeviceSync():
        take_steps(learner, keeper, store.images, Tensor.backward)


def test_what_waits_is_found() -> None:
    pixels = TensorStore(torch.zeros(4, 1, 2, 2, dtype=torch.uint8))
    with (
        pytest.raises(DeviceSyncError, match="is copied to it without non_blocking = True"),
        accelerator() as (device, _),
    ):
        device.tensor(pixels.images).index_select(0, torch.arange(2).to("cuda"))
    with pytest.raises(DeviceSyncError, match="a tensor is copied to the host"), accelerator() as (device, _):
        device.tensor(pixels.images).cpu()


def test_a_term_that_the_host_knows_is_logged_without_waiting() -> None:
    with accelerator() as (device, _):
        tally = LossAccumulator()
        tally.epoch_loss = device.tensor(tally.epoch_loss)
        tally.add(MethodOutput(device.tensor(torch.ones(())), {"queue": torch.full((), 0.5)}))
        (row,) = tally.pending
        assert (row.device.type, row.shape) == ("cuda", (2,))
