"""Weights on disk: safetensors with metadata, so that nothing is ever executed by reading them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from sslkit.errors import RunError
from sslkit.files import open_regular_file, write_atomic

KEY = "sslkit"


def save_weights(module: nn.Module, path: Path, metadata: dict[str, Any]) -> None:
    """Write a module's state, with metadata that JSON can hold."""
    # Copies, because a module may stand in two places, and safetensors refuses memory that two names share.
    state = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }
    write_atomic(path, save(state, metadata={KEY: json.dumps(metadata)}))


def load_weights(module: nn.Module, path: Path) -> None:
    """Read a module's state.

    Raises:
        RunError: the file is missing, damaged, or does not fit the module.
    """
    try:
        open_regular_file(path).close()
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        module.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RunError(f"the weights {path} cannot be used: {str(error).splitlines()[0]}") from error


def count_values(path: Path) -> int:
    """How many numbers a file of weights holds, by its header.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        open_regular_file(path).close()
        with safe_open(path, framework="pt") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise RunError(f"the weights {path} cannot be read: {error}") from error


def read_metadata(path: Path) -> dict[str, Any]:
    """What was written beside the weights.

    Raises:
        RunError: the file is missing, damaged, or not written by sslkit.
    """
    try:
        open_regular_file(path).close()
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = json.loads(file.metadata()[KEY])
        if not isinstance(metadata, dict):
            raise TypeError("what stands beside the weights is no table")
    except FileNotFoundError:
        raise RunError(f"there are no weights {path}: the run has not finished; `sslkit resume` completes it") from None
    except (OSError, SafetensorError, TypeError, KeyError, ValueError, RecursionError) as error:
        raise RunError(f"the weights {path} cannot be read: {error}") from error
    return metadata
