"""Provenance of a run: versions, hardware, data and command line, recorded to make its results reproducible."""

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
from sslkit.assembly.position import Position
from sslkit.data.checksum import checksum
from sslkit.device.hardware import Hardware, cpu_capabilities
from sslkit.files import to_json, write_atomic
from sslkit.runs.run import Run
from sslkit.runs.weights import hash_state
from sslkit.training.distributed import slurm
from sslkit.training.distributed.environment import launcher_name

LIBRARIES = ("sslkit", "torch", "torchvision", "pytorch-lightning", "numpy", "scikit-learn", "scipy")
"""Distributions whose versions are recorded, in addition to those of the components."""

DATA_KEYS = ("training_images", "image_shape", "class_names", "images_sha256")
"""Keys of the entries that identify the training data."""

START_KEYS = ("command", "slurm_job", "git_commit", "initial_backbone_sha256")
"""Keys of the entries about the start of a run. A resumed run keeps these entries."""


def provenance(assembly: Assembly, hardware: Hardware) -> dict[str, Any]:
    """Return the provenance of a training run that is about to start, as JSON values."""
    return {
        "command": sys.argv,
        "slurm_job": slurm.job_id(),
        "seed": assembly.recipe.run.seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "components": {
            ".".join(map(str, spec.path)): {
                "kind": spec.entry.kind.singular,
                "name": spec.entry.name,
                "distribution": spec.entry.distribution,
                "version": spec.entry.version,
            }
            for spec in assembly.recipe.components
        },
        "hardware": {
            "device": hardware.device,
            "name": torch.cuda.get_device_name() if hardware.device == "cuda" else _cpu_name(),
            "cpu_cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "precision": hardware.precision,
            "reason": hardware.reason,
            "channels_last": hardware.channels_last,
        },
        "processes": {
            "count": assembly.context.world.size,
            "nodes": assembly.recipe.train.nodes,
            "launcher": launcher_name(),
        },
        "git_commit": _commit(Path.cwd()),
        "data": dict(assembly.dataset.report()),
        "splits": list(assembly.dataset.splits),
        "training_images": len(assembly.images),
        "image_shape": list(assembly.images.shape),
        "class_names": list(assembly.dataset.class_names),
        "images_sha256": checksum(assembly.images),
        "initial_backbone_sha256": hash_state(assembly.method.backbone),
    }


def record_resumed(
    run: Run, now: Mapping[str, Any], saved: Position, position: Position, changed: Sequence[str]
) -> None:
    """Update ``provenance.json`` of a run that is resumed.

    Args:
        run: the run.
        now: the current ``provenance``, which replaces the recorded entries except ``START_KEYS``.
        saved: position of the checkpoint, with the ``epochs`` and ``steps_per_epoch`` from before resuming.
        position: the same position, with the current ``epochs`` and ``steps_per_epoch``.
        changed: sentences about differences between ``now`` and the recorded provenance.
    """
    record = json.loads(run.provenance.read_text())
    event = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": saved.taken,
        "position": {"before": saved.as_record(), "now": position.as_record()},
        "command": now["command"],
        "git_commit": now["git_commit"],
        "changed": list(changed),
    }
    record |= {name: value for name, value in now.items() if name not in START_KEYS}
    record["resumed"] = [*record.get("resumed", []), event]
    write_atomic(run.provenance, to_json(record))


def versions() -> dict[str, str]:
    """Return the installed version of each distribution in ``LIBRARIES``."""
    return {name: metadata.version(name) for name in LIBRARIES}


def _cpu_name() -> str:
    name = cpu_capabilities().get("cpu_name")
    return str(name or platform.processor() or platform.machine())


def _commit(folder: Path) -> str | None:
    """Return the git commit of ``folder``, with ``+`` for uncommitted changes, or None outside a repository."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return result.stdout.strip()
