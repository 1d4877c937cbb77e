"""Take the steps of a training run, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.method import MethodOutput
from sslkit.data.loader import ImageBatch
from sslkit.training.guard import NonFiniteGuard
from sslkit.training.step.captured_step import CapturedStep, learning_rates
from sslkit.training.step.cuda_graphs import CudaGraphs, Graphs
from sslkit.training.step.inputs import InputWriter
from sslkit.training.step.training_step import TrainingStep


class Stepper:
    """Takes the steps of a training run.

    Args:
        step: the training step.
        writer: writes the inputs of each step.
        graphs: captures steps; None runs all steps normally.
        report: receives a sentence about the capture.
    """

    def __init__(
        self,
        step: TrainingStep,
        writer: InputWriter,
        graphs: Graphs | None = None,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.step = step
        self.writer = writer
        self.captured = CapturedStep(step, graphs, report) if graphs is not None else None
        if graphs is not None:
            step.guard.may_sync = False

    @property
    def guard(self) -> NonFiniteGuard:
        """The guard that undoes non-finite steps."""
        return self.step.guard

    def take(self, batch: ImageBatch, taken: int, position: int) -> MethodOutput:
        """Take a step and return the method's output. With a graph, the next step overwrites the output's tensors.

        Args:
            batch: this process's part of the global batch.
            taken: number of optimizer steps taken.
            position: the step that losses and schedules use; see ``Position.step``.
        """
        recorder, optimizer = self.step.recorder, self.step.optimizer
        scheduled = self.step.method.all_scheduled(position)
        if self.captured is not None:
            scheduled |= learning_rates(optimizer)
        inputs = self.writer.write(batch, taken, recorder.row if recorder is not None else 0, scheduled)
        return (self.captured or self.step)(inputs, position)


def choose_graphs(assembly: Assembly, device: str, report: Callable[[str], None]) -> Graphs | None:
    """Return an object that captures steps. If steps cannot be captured, report the reason and return None.

    Args:
        assembly: the assembled recipe.
        device: the training device.
        report: receives the reason. It is not called if the device is not CUDA, or with ``train.capture = "off"``.
    """
    if assembly.recipe.train.capture == "off" or device != "cuda":
        return None
    syncing = [name for name, loss in assembly.method.losses.items() if loss.syncs_device]
    problem = ""
    if assembly.context.world.size > 1:
        problem = "there is more than one process"
    elif not assembly.optimizer.capturable:
        problem = f"the optimizer {assembly.recipe.optimizer.use!r} is not capturable"
    elif assembly.method.syncs_device:
        problem = f"the method {assembly.recipe.method.use!r} syncs the device"
    elif syncing:
        problem = f"the loss {syncing[0]!r} syncs the device"
    if problem:
        report(f"train.capture: steps run without a CUDA graph, because {problem}")
        return None
    return CudaGraphs()
