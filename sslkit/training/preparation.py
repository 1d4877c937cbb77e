"""Prepare training: connect the processes, choose the hardware and assemble the recipe."""

from __future__ import annotations

import warnings

from sslkit.assembly.assemble import Assembly, assemble
from sslkit.assembly.start import Start
from sslkit.device.allocator import retain_freed_memory
from sslkit.device.hardware import Hardware, choose_device, choose_hardware
from sslkit.recipe.recipe import Recipe
from sslkit.training.distributed.processes import Processes, connect
from sslkit.training.events import FeaturesComputed, Reporter
from sslkit.training.lightning_logging import quiet_lightning


def connect_processes(recipe: Recipe) -> Processes:
    """Connect to the other processes of this training run."""
    with quiet_lightning():
        return connect(recipe.train, choose_device(recipe.train.device))


def prepare(
    recipe: Recipe,
    reporter: Reporter,
    processes: Processes | None = None,
    start: Start | None = None,
) -> tuple[Hardware, Assembly, Processes]:
    """Choose the hardware, assemble the recipe and report both, including all warnings.

    Args:
        recipe: a checked recipe.
        reporter: receives the notes.
        processes: the connected processes; if None, this function connects them.
        start: the weights or the checkpoint that training starts from; None means the initial weights of the recipe.
    """
    processes = processes or connect_processes(recipe)
    hardware = choose_hardware(recipe.train.device, recipe.train.precision)
    retain_freed_memory(hardware.device)
    reporter.note(f"device: {hardware.device}, {hardware.precision}: {hardware.reason}")
    if processes.world.size > 1:
        reporter.note(
            f"processes: {processes.world.size}, each {recipe.train.batch_size // processes.world.size} images of a "
            f"batch of {recipe.train.batch_size}"
        )
    with processes.local_main_process_first(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        assembly = assemble(
            recipe,
            hardware.device,
            processes.world,
            start,
            on_progress=lambda images, total: reporter.on_event(FeaturesComputed(images, total)),
        )
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            reporter.note(f"warning: {warning.message}")
    for text in assembly.notes:
        reporter.note(text)
    return hardware, assembly, processes
