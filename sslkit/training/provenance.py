"""Provenance: what a run was trained with, so that its figures can be believed and repeated."""

from __future__ import annotations

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

LIBRARIES = ("sslkit", "torch", "torchvision", "pytorch-lightning", "numpy", "scikit-learn", "scipy")


def provenance(assembly: Assembly, hardware: Hardware) -> dict[str, Any]:
    """Versions, hardware, commit and command line."""
    return {
        "command": sys.argv,
        "slurm_job": slurm.job(),
        "seed": assembly.recipe.run.seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
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
        "git_commit": _commit(Path.cwd()),
        "data": dict(assembly.dataset.report()),
        "training_images": len(assembly.images),
        "image_shape": list(assembly.images.shape),
        "class_names": list(assembly.dataset.class_names),
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
