"""Provenance: what a run was trained with, so that its figures can be believed and repeated."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sslkit.assembly import Assembly
from sslkit.hardware import Hardware
from sslkit.training import slurm
from sslkit.training.processes import started_by

LIBRARIES = ("sslkit", "torch", "torchvision", "pytorch-lightning", "numpy", "scikit-learn", "scipy")

CHECKED = 256
"""Images that the data's checksum is taken of."""


def provenance(assembly: Assembly, hardware: Hardware) -> dict[str, Any]:
    """Versions, hardware, commit and command line."""
    return {
        "command": sys.argv,
        "slurm_job": slurm.job(),
        "seed": assembly.recipe.run.seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "components": {
            ".".join(map(str, selected.path)): {
                "kind": selected.entry.kind.singular,
                "name": selected.entry.name,
                "distribution": selected.entry.distribution,
                "version": selected.entry.version,
            }
            for selected in assembly.recipe.selected
        },
        "hardware": {
            "device": hardware.device,
            "name": torch.cuda.get_device_name() if hardware.device == "cuda" else _processor(),
            "processors": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "precision": hardware.precision,
            "why": hardware.reason,
            "channels_last": hardware.channels_last,
        },
        "processes": {
            "count": assembly.context.world.size,
            "machines": assembly.recipe.train.nodes,
            "started_by": started_by(),
        },
        "git_commit": _commit(Path.cwd()),
        "data": dict(assembly.dataset.report()),
        **data_facts(assembly),
    }


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the bits."""
    return {name: metadata.version(name) for name in LIBRARIES}


def data_facts(assembly: Assembly) -> dict[str, Any]:
    """By what the data are known again; the checksum is that of at most ``CHECKED`` images, spread over all."""
    images = assembly.images
    places = torch.linspace(0, len(images) - 1, min(len(images), CHECKED), dtype=torch.float64).round().long()
    pixels = images.gather(places).cpu().contiguous().numpy()
    return {
        "training_images": len(images),
        "image_shape": list(images.shape),
        "class_names": list(assembly.dataset.class_names),
        "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest()[:16],
    }


def _processor() -> str:
    name = torch.cpu.get_capabilities().get("cpu_name")
    return str(name or platform.processor() or platform.machine())


def _commit(folder: Path) -> str | None:
    """Commit of the user's own project, with a ``+`` where it has uncommitted changes; None outside git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
