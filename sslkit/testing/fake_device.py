"""Fake CUDA device for tests on machines without a GPU.

Tensors on this device have a shape but no values. Operations that mix devices fail as on a real GPU. An operation that
would make the host wait for the device raises ``DeviceSyncError``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sslkit.device.step_trace import SYNCING_OPERATORS
from sslkit.errors import SslkitError


class DeviceSyncError(AssertionError):
    """Error: an operation would make the host wait for the device."""


class ForbidDeviceSync(TorchDispatchMode):
    """Context manager that raises ``DeviceSyncError`` if an operation would make the host wait for the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in SYNCING_OPERATORS:
            raise DeviceSyncError(f"device sync in every step: {name} reads a value from the device")
        result = func(*args, **(kwargs or {}))
        if name in ("aten::_to_copy", "aten::copy_"):
            source = args[0] if name == "aten::_to_copy" else args[1]
            from_device, to_device = source.device.type != "cpu", result.device.type != "cpu"
            if from_device and not to_device:
                raise DeviceSyncError("device sync in every step: a tensor is copied to the host")
            if to_device and not from_device and not _is_asynchronous(func, args, kwargs or {}):
                raise DeviceSyncError(
                    "device sync in every step: a tensor is copied to the device without non_blocking=True, "
                    "so the host waits for all pending work of the device"
                )
        return result


def _is_asynchronous(func: Any, args: Any, kwargs: Any) -> bool:
    position = [argument.name for argument in func._schema.arguments].index("non_blocking")
    return bool(args[position] if len(args) > position else kwargs.get("non_blocking", False))


class FakeDevice:
    """Fake CUDA device to which tensors and modules can be copied."""

    def __init__(self, mode: FakeTensorMode) -> None:
        self.mode = mode

    def tensor(self, value: Tensor) -> Tensor:
        """Return a fake tensor on the device, with the shape and dtype of ``value``."""
        return torch.empty(value.shape, dtype=value.dtype, device="cuda")

    def move(self, module: nn.Module) -> None:
        """Move the parameters and buffers of a module to the device; other tensors stay on the host."""
        for layer in module.modules():
            for name, parameter in layer._parameters.items():
                if parameter is not None:
                    moved = self.mode.from_tensor(parameter).detach().to("cuda", non_blocking=True)
                    layer._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
            for name, buffer in layer._buffers.items():
                if buffer is not None:
                    layer._buffers[name] = self.mode.from_tensor(buffer).to("cuda", non_blocking=True)


@contextmanager
def fake_device(*modules: nn.Module) -> Iterator[tuple[FakeDevice, tuple[Any, ...]]]:
    """Yield the fake device and copies of the modules on it.

    Example::

        with fake_device(loss) as (device, (loss_copy,)):
            loss_copy(device.tensor(embedding))

    Raises:
        AssertionError: an operation mixes devices, a module uses a tensor that is neither a parameter nor a buffer, or
            the host would wait for the device.
    """
    copies = tuple(deepcopy(module) for module in modules)
    mode = FakeTensorMode()
    device = FakeDevice(mode)
    try:
        with mode:
            for module in copies:
                device.move(module)
            with ForbidDeviceSync():  # type: ignore[no-untyped-call]  # TorchDispatchMode is untyped
                yield device, copies
    except (DeviceSyncError, SslkitError):
        raise
    except Exception as error:
        cause = " ".join(str(error).split()) or f"it raises {type(error).__name__} without a message"
        if "Please convert all Tensors to FakeTensors" in cause:
            cause = "a tensor is neither a parameter nor a buffer and stays on the host: use register_buffer"
        if isinstance(error, DynamicOutputShapeException):
            cause = f"the output shape of {cause} depends on values, so the host must wait for them"
        raise AssertionError(f"must work on any device: {cause}") from error
