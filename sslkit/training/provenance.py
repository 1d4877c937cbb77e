"""Provenance: what a run was trained with, so that its figures can be believed and repeated."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sslkit.assembly.assemble import Assembly
from sslkit.data.checksum import checksum
from sslkit.device.hardware import Hardware
from sslkit.files import to_json, write_atomic
from sslkit.runs.run import Run
from sslkit.training.distributed import slurm
from sslkit.training.distributed.processes import started_by

LIBRARIES = ("sslkit", "torch", "torchvision", "pytorch-lightning", "numpy", "scikit-learn", "scipy")

DATA = ("training_images", "image_shape", "class_names", "images_sha256")
"""By what the data are known again."""

BEGUN = ("command", "slurm_job", "git_commit")
"""What says how a run was begun."""


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
        "training_images": len(assembly.images),
        "image_shape": list(assembly.images.shape),
        "class_names": list(assembly.dataset.class_names),
        "images_sha256": checksum(assembly.images),
    }


def record_resumed(run: Run, now: Mapping[str, Any], step: int, changed: Sequence[str]) -> None:
    """Write down what a run goes on with.

    Args:
        run: the run.
        now: its ``provenance``, which takes the place of what it was begun with, but for what says how it was begun.
        step: steps that were taken before.
        changed: how ``now`` differs from what was recorded.
    """
    record = json.loads(run.provenance.read_text())
    event = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "command": now["command"],
        "git_commit": now["git_commit"],
        "changed": list(changed),
    }
    record |= {name: value for name, value in now.items() if name not in BEGUN}
    record["resumed"] = [*record.get("resumed", []), event]
    write_atomic(run.provenance, to_json(record))


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the bits."""
    return {name: metadata.version(name) for name in LIBRARIES}


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
