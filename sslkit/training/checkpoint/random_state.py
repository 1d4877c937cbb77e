"""Global random state of this process: Python, NumPy, and PyTorch on the CPU and the GPU."""

from __future__ import annotations

import random
from typing import Any

import numpy
import torch


def get_random_state() -> dict[str, Any]:
    """Return the global random state as tensors and plain values."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = numpy.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        # Only the GPU of this process, because other GPUs belong to other processes.
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
        "mps": [torch.mps.get_rng_state()] if torch.backends.mps.is_available() else [],
        "python": [version, list(words), gauss],
        "numpy": [
            str(name),
            torch.from_numpy(numpy.asarray(keys).astype(numpy.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore a random state that ``get_random_state`` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state(state["cuda"][0])
    if state.get("mps"):
        torch.mps.set_rng_state(state["mps"][0])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    numpy.random.set_state((name, keys.numpy().astype(numpy.uint32), position, has_gauss, cached))
