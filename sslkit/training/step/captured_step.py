"""The training step as a CUDA graph, which the host launches once per step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sslkit.contracts.method import Method, MethodOutput
from sslkit.contracts.queue import Queue
from sslkit.device.step_trace import NotRepeatableError, StepTrace
from sslkit.errors import TrainingError
from sslkit.training.step.cuda_graphs import Graphs
from sslkit.training.step.inputs import StepInputs

EAGER_STEPS = 3
"""Number of steps of a phase that run without a graph: the first creates buffers, and the other two are compared."""

CHECK_EVERY = 1000
"""Number of replays of a graph after which the step is captured again, to check that its operators are unchanged."""


class Step(Protocol):
    """Interface of ``TrainingStep``, which trains ``method`` on one batch of tensors on the device."""

    method: Method
    optimizer: torch.optim.Optimizer

    def __call__(self, inputs: StepInputs, position: int) -> MethodOutput: ...


@dataclass
class Recording:
    """A captured step.

    Attributes:
        replay: function that repeats the step on the device, with the current inputs.
        output: output of the method, whose tensors ``replay`` overwrites.
        pushed: mapping from each queue of the method to the number of rows that a step adds to it.
        position: the ``position`` of the step that was captured.
        launches: number of calls to ``replay``.
    """

    replay: Callable[[], None]
    output: MethodOutput
    pushed: Mapping[Queue, int]
    position: int
    launches: int = 0


class CapturedStep:
    """Runs each step as a CUDA graph if possible, and as a normal step otherwise.

    In each phase of training, the first ``EAGER_STEPS`` steps run normally; the next step is captured, and its
    graph is replayed until the phase ends. Both kinds of steps use the same operators, so a resumed run is
    bit-identical to an uninterrupted run.

    Training continues without graphs if a step cannot be replayed. The reason is reported once. After ``CHECK_EVERY``
    replays, the step is captured again. If the step's operators have changed within the phase, training stops with an
    error, because the graph may have replayed outdated operators.

    Args:
        step: the training step.
        graphs: captures functions.
        report: receives a sentence about the first graph, or the reason why there is none.

    Attributes:
        recording: the captured step of the current phase, or None while steps run normally.
        problem: why the step cannot be captured, or ``""`` if it can.
    """

    def __init__(self, step: Step, graphs: Graphs, report: Callable[[str], None]) -> None:
        self.step = step
        self.graphs = graphs
        self.report = report
        self.recording: Recording | None = None
        self.problem = ""
        self.reported = False
        self.phase: Hashable = None
        self.inputs: StepInputs | None = None
        self.trace: StepTrace | None = None
        self.eager_steps = 0

    def __call__(self, inputs: StepInputs, position: int) -> MethodOutput:
        """Take a step; see ``TrainingStep``.

        Raises:
            TrainingError: the operators have changed within a phase.
        """
        phase = self.step.method.phase(position)
        if inputs is not self.inputs or phase != self.phase:
            self.recording, self.trace, self.eager_steps = None, None, 0
            self.inputs, self.phase = inputs, phase
        if self.recording is not None and self.recording.launches < CHECK_EVERY:
            for queue, rows in self.recording.pushed.items():
                queue.pushed += rows
        elif self.eager_steps == EAGER_STEPS and not self.problem:
            self._capture(inputs, position)
        if self.recording is None:
            return self._take_eagerly(inputs, position)
        self.recording.replay()
        self.recording.launches += 1
        return self.recording.output

    def _take_eagerly(self, inputs: StepInputs, position: int) -> MethodOutput:
        self.eager_steps = min(self.eager_steps + 1, EAGER_STEPS)
        with self.graphs.eager(), device_rates(self.step.optimizer, inputs.scheduled):
            if self.eager_steps == 1 or self.problem:
                return self.step(inputs, position)
            before = _addresses(self.step.method)
            with StepTrace(self.trace.operations if self.trace is not None else None) as trace:
                output = self.step(inputs, position)
            trace.end()
            self.trace = trace
            moved = [name for name, address in _addresses(self.step.method).items() if before.get(name) != address]
            if trace.problem or moved:
                self._give_up(trace.problem or f"{moved[0]} is a new tensor in each step: copy the values into it")
            return output

    def _capture(self, inputs: StepInputs, position: int) -> None:
        assert self.trace is not None
        queues = [module for module in self.step.method.modules() if isinstance(module, Queue)]
        before = {queue: queue.pushed for queue in queues}
        checked = self.recording.position if self.recording is not None else None
        # The memory of the gradients and of an earlier graph becomes free for the new graph.
        self.recording = None
        self.step.optimizer.zero_grad()
        memory = self.graphs.memory()

        def run() -> MethodOutput:
            assert self.trace is not None
            with StepTrace(self.trace.operations, raises=True) as trace:
                output = self.step(inputs, position)
                trace.end()
            return output

        try:
            with device_rates(self.step.optimizer, inputs.scheduled):
                replay, output = self.graphs.capture(run)
        except (RuntimeError, NotRepeatableError) as error:
            if checked is not None and isinstance(error, NotRepeatableError):
                raise _outdated_error(checked, position, str(error)) from error
            for queue, pushed in before.items():
                queue.pushed = pushed
            self.step.optimizer.zero_grad()
            self._give_up(str(error).partition("\n")[0])
            return
        rows = {queue: queue.pushed - before[queue] for queue in queues}
        self.recording = Recording(replay, output, rows, position)
        if not self.reported:
            self.reported = True
            size = max(0, self.graphs.memory() - memory) / 1e6
            self.report(f"train.capture: a CUDA graph replays the step; it takes {size:.0f} MB of GPU memory")

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        self.report(f"train.capture: steps run without a CUDA graph, because {problem}")


def _outdated_error(captured: int, position: int, change: str) -> TrainingError:
    return TrainingError(
        f"step {captured + 1}, captured as a CUDA graph, differs from step {position + 1} of the same phase: {change}. "
        "Steps between them may have replayed outdated operators. Return a new phase from phase(step) in the step of "
        'the change, or set train.capture = "off", and train again.'
    )


@contextmanager
def device_rates(optimizer: torch.optim.Optimizer, scheduled: Mapping[str, Tensor]) -> Iterator[None]:
    """Replace learning rates by device tensors in the ``with`` block, so that a graph reads the current rates.

    Args:
        optimizer: the optimizer.
        scheduled: tensors of the scheduled values, keyed by name; see ``StepInputs.scheduled``.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    for name, group in zip(learning_rates(optimizer), optimizer.param_groups, strict=True):
        group["lr"] = scheduled[name]
    try:
        yield
    finally:
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["lr"] = rate


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the learning rate of each parameter group, keyed by its name in ``StepInputs.scheduled``."""
    return {f"learning rate {number}": float(group["lr"]) for number, group in enumerate(optimizer.param_groups)}


def _addresses(module: nn.Module) -> dict[str, int]:
    """Return the memory address of every tensor attribute of a module and its sub-modules, to detect new tensors."""
    return {
        f"{type(owner).__qualname__}.{name} of {prefix!r}": value.data_ptr()
        for prefix, owner in module.named_modules()
        for name, value in _tensors(owner)
    }


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    values: dict[str, Any] = {**vars(module), **module._buffers, **module._parameters}
    return ((name, value) for name, value in values.items() if isinstance(value, Tensor))
