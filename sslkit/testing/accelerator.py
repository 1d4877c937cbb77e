"""An accelerator that is not there: fake CUDA tensors, which know their device and shape but have no values.

Operations between devices fail on them as they would on a real one.  What would make the host wait for the device is
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = frozenset({"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"})

Given = TypeVar("Given")


class DeviceSyncError(AssertionError):
    """The host would wait for the device."""


class ForbidDeviceSync(TorchDispatchMode):
    """Refuses what needs a value from the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in WAITING:
            raise DeviceSyncError(f"the host must not wait for the device in every step: {name} reads a value from it")
        result = func(*args, **(kwargs or {}))
        if name in ("aten::_to_copy", "aten::copy_"):
            source = args[0] if name == "aten::_to_copy" else args[1]
            there, back = result.device.type != "cpu", source.device.type != "cpu"
            if back and not there:
                raise DeviceSyncError(
                    "the host must not wait for the device in every step: a tensor is copied to the host"
                )
            if there and not back and not _asynchronous(func, args, kwargs or {}):
                raise DeviceSyncError(
                    "the host must not wait for the device in every step: a tensor is copied to it without "
                    "non_blocking = True, which waits for all that the device still has to do"
                )
        return result


def _asynchronous(func: Any, args: Any, kwargs: Any) -> bool:
    place = [argument.name for argument in func._schema.arguments].index("non_blocking")
    return bool(args[place] if len(args) > place else kwargs.get("non_blocking", False))


class Accelerator:
    """Moves modules and tensors to the fake device."""

    def __init__(self, mode: FakeTensorMode) -> None:
        self.mode = mode

    def tensor(self, value: Tensor) -> Tensor:
        """A tensor of that shape and dtype on the device."""
        return torch.empty(value.shape, dtype=value.dtype, device="cuda")

    def module(self, module: nn.Module) -> None:
        """Move a module's parameters and buffers, and nothing else that it keeps."""
        for layer in module.modules():
            for name, parameter in layer._parameters.items():
                if parameter is not None:
                    moved = self.mode.from_tensor(parameter).detach().to("cuda", non_blocking=True)
                    layer._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
            for name, buffer in layer._buffers.items():
                if buffer is not None:
                    layer._buffers[name] = self.mode.from_tensor(buffer).to("cuda", non_blocking=True)


@contextmanager
def accelerator(*modules: nn.Module) -> Iterator[tuple[Accelerator, tuple[Any, ...]]]:
    """Within it, copies of the modules are on the fake device.

    Raises:
        AssertionError: tensors of several devices meet, a tensor was kept outside parameters and buffers, or the host
            would wait.
    """
    copies = tuple(deepcopy(module) for module in modules)
    mode = FakeTensorMode()
    device = Accelerator(mode)
    try:
        with mode:
            for module in copies:
                device.module(module)
            with ForbidDeviceSync():  # type: ignore[no-untyped-call]  # torch leaves it untyped
                yield device, copies
    except DeviceSyncError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split())
        if "Please convert all Tensors to FakeTensors" in cause:
            cause = "a tensor is neither parameter nor buffer and stays on the host: use register_buffer"
        if isinstance(error, DynamicOutputShapeException):
            cause = f"{cause} gives a shape that only its values tell, so the host must wait for them"
        raise AssertionError(f"it must work on any device: {cause}") from error
