"""Meets the other processes of a training, and builds what its recipe names."""

from __future__ import annotations

import warnings

from sslkit.assembly.assemble import Assembly, Restoring, assemble
from sslkit.device.allocator import retain_freed_memory
from sslkit.device.hardware import Hardware, choose, choose_device
from sslkit.recipe.model import Recipe
from sslkit.training.distributed.processes import Processes, meet
from sslkit.training.events import Reporter
from sslkit.training.lightning_logging import quiet


def join(recipe: Recipe) -> Processes:
    """Meet the other processes of this training."""
    with quiet():
        return meet(recipe.train, choose_device(recipe.train.device))


def prepare(
    recipe: Recipe,
    reporter: Reporter,
    processes: Processes | None = None,
    steps_before: int = 0,
    restoring: Restoring = "nothing",
) -> tuple[Hardware, Assembly, Processes]:
    """Choose the hardware, meet the other processes where that is still to be done, and build the recipe's parts."""
    processes = processes or join(recipe)
    hardware = choose(recipe.train.device, recipe.train.precision)
    retain_freed_memory(hardware.device)
    reporter.note(f"device: {hardware.device}, {hardware.precision}: {hardware.reason}")
    if processes.world.size > 1:
        reporter.note(
            f"processes: {processes.world.size}, each {recipe.train.batch_size // processes.world.size} images of a "
            f"batch of {recipe.train.batch_size}"
        )
    with processes.main_process_first(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        assembly = assemble(recipe, hardware.device, processes.world, steps_before, restoring)
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            reporter.note(f"warning: {warning.message}")
    for text in assembly.notes:
        reporter.note(text)
    return hardware, assembly, processes
