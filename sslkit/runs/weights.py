"""Save and load weights as safetensors with JSON metadata. Reading safetensors never executes code."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sslkit.errors import RunError
from sslkit.files import open_regular_file, write_atomic
from sslkit.runs.json_records import RUN_FORMAT
from sslkit.runs.weights_header import KEY


def save_weights(module: nn.Module, path: Path, metadata: dict[str, Any]) -> None:
    """Write a module's parameters and buffers to a safetensors file, with ``metadata`` and a format version."""
    # Tensors are copied, because a module may share a tensor under two names, which safetensors rejects.
    state = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }
    write_atomic(path, save(state, metadata={KEY: json.dumps({"format": RUN_FORMAT, **metadata})}))


def copy_weights(source: Path, path: Path, metadata: dict[str, Any]) -> None:
    """Copy a weights file with new metadata: the format number of run folders, and ``metadata``.

    Raises:
        RunError: the weights file is missing or damaged.
    """
    write_atomic(path, save(_read_state(source), metadata={KEY: json.dumps({"format": RUN_FORMAT, **metadata})}))


def hash_state(module: nn.Module) -> str:
    """Return a SHA-256 checksum of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {list(plain.shape)} ".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a module's parameters and buffers from a weights file.

    Raises:
        RunError: the file is missing or damaged, or its tensors do not fit the module.
    """
    try:
        module.load_state_dict(_read_state(path))
    except RuntimeError as error:
        raise _unusable(path, error) from error


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        open_regular_file(path).close()
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> RunError:
    reason = " ".join(line.strip() for line in str(error).splitlines()[:2])  # the second names the tensor
    return RunError(f"the weights {path} cannot be used: {reason}")


def count_values(path: Path) -> int:
    """Return the total number of elements of all tensors in a weights file; only the header is read.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        open_regular_file(path).close()
        with safe_open(path, framework="pt") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise RunError(f"the weights {path} cannot be read: {error}") from error
