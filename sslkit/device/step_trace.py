"""Trace of a training step, which shows whether a CUDA graph of one step can be replayed for all steps of a phase."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sslkit.contracts.component import Component

SYNCING_OPERATORS = frozenset({"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"})
"""PyTorch operators that copy a value from the device to the host."""

Operation = tuple[str, tuple[str, ...]]
"""Name of an operator, and its arguments as text; a tensor is described by its shape."""

UNRECORDED = frozenset(
    {
        *("aten::detach", "aten::alias", "aten::clone", "aten::copy_", "aten::new_empty_strided"),
        *("profiler::_record_function_enter_new", "profiler::_record_function_exit"),
    }
)
"""Operators that do not compute. Whether autograd copies a gradient varies between steps."""

PHASE_ADVICE = "return values that change between steps from scheduled(step), or a new phase from phase(step)"


def sampled_steps(total: int) -> list[int]:
    """Return the numbers of the first two, the middle two and the last two of ``total`` training steps."""
    return sorted({step for start in (0, total // 2, total - 2) for step in (start, start + 1) if 0 <= step < total})


class NotRepeatableError(AssertionError):
    """Error: a CUDA graph of the step would give different results from the step itself."""


class StepTrace(TorchDispatchMode):
    """Context manager that records the operators of a step, and finds what a CUDA graph could not replay.

    A graph replays the operators of one step with the same Python arguments; only the contents of tensors may change.
    The step must therefore not copy between host and device, and it must run the same operators with the same Python
    arguments as an earlier step of the same phase. A phase is a part of the training, such as the steps in which a
    queue is full.

    Args:
        expected: the operations of an earlier step; if None, the step is only recorded.
        raises: whether to raise an error before the first operator that cannot be replayed.

    Attributes:
        operations: the recorded operations.
        host_access: a phrase about the first exchange of values between host and device, or ``""`` if there is none.
        change: a phrase about the first difference from the earlier step, or ``""`` if there is none.

    Raises:
        NotRepeatableError: with ``raises``, the step cannot be replayed.
    """

    def __init__(self, expected: Sequence[Operation] | None = None, *, raises: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # TorchDispatchMode is untyped
        self.expected = expected
        self.raises = raises
        self.operations: list[Operation] = []
        self.host_access = ""
        self.change = ""

    @property
    def problem(self) -> str:
        """A phrase that describes why the step cannot be replayed, or ``""`` if it can."""
        return self.host_access or self.change

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        return True  # torch.compile would otherwise not run compiled code

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if not self.host_access and (access := _host_access(name, args, kwargs or {})):
            self.host_access = f"{_calling_component()} {access}"
        if name not in UNRECORDED:
            operation = (name, (*_describe(args), *_describe(kwargs or {})))
            if not self.change and (change := self._find_change(operation)):
                self.change = f"{_calling_component()} {change}"
            self.operations.append(operation)
        if self.raises and self.problem:
            raise NotRepeatableError(self.problem)
        return func(*args, **(kwargs or {}))

    def end(self) -> None:
        """After the step, set ``change`` if the step had more or fewer operators than the earlier step.

        Raises:
            NotRepeatableError: with ``raises``, the number of operators differs.
        """
        if self.expected is not None and len(self.operations) != len(self.expected) and not self.change:
            self.change = f"the step has {len(self.operations)} operators, but the step before {len(self.expected)}"
            if self.raises:
                raise NotRepeatableError(self.change)

    def _find_change(self, operation: Operation) -> str:
        number = len(self.operations)
        if self.expected is None or number >= len(self.expected) or operation == self.expected[number]:
            return ""
        (name, values), (before, old) = operation, self.expected[number]
        if name != before:
            return f"runs {name} where the step before ran {before}"
        changed = next((f"{now}, before {then}" for now, then in zip(values, old, strict=False) if now != then), "")
        return f"runs {name} with a number that changes between steps of one phase ({changed})"


def _host_access(name: str, args: Any, kwargs: Any) -> str:
    if name in SYNCING_OPERATORS:
        return f"reads a tensor value on the host ({name})"
    if any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values())):
        return "draws random numbers from a generator of its own"
    if name == "aten::lift_fresh":
        return "makes a tensor from Python numbers in each step"
    target = kwargs.get("device") if name == "aten::_to_copy" else args[1].device if name == "aten::copy_" else None
    if target is not None and target.type != args[0].device.type:
        return "copies between host and device"
    return ""


def _describe(value: Any) -> Iterator[str]:
    if isinstance(value, Tensor):
        yield f"tensor {list(value.shape)}"
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _describe(each)
    elif isinstance(value, torch.Generator):
        yield "generator"
    elif isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from _describe(each)
    else:
        yield repr(value)


def _calling_component() -> str:
    """Return, for messages, the class name of the component that runs the current operator, or "the step" if none."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Component):
            return f"{type(owner).__module__}.{type(owner).__qualname__}"
        frame = frame.f_back
    return "the step"
