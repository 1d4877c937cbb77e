"""Start a new run from the backbone and head weights of a finished run."""

from __future__ import annotations

from torch import nn

from sslkit.assembly.assemble import Assembly
from sslkit.assembly.start import Start
from sslkit.runs.provenance_file import ParentRun, parent_epochs
from sslkit.runs.run import Run
from sslkit.runs.weights import load_weights
from sslkit.runs.weights_metadata import read_backbone_metadata


def parent_record(parent: Run) -> ParentRun:
    """Return the entry in ``provenance.json`` about the finished run that a new run continues."""
    metadata = read_backbone_metadata(parent.backbone)
    steps = metadata["step"] + metadata["context"].get("steps_before", 0)
    return {"run": parent.name, "steps": steps, "epochs": parent_epochs(parent) + metadata["context"]["epochs"]}


def start_after(parent: Run | None) -> Start:
    """Return the start of a new run: from new weights, or from the weights of ``parent`` if given."""
    if parent is None:
        return Start()
    record = parent_record(parent)
    return Start("network", steps_before=record["steps"], epochs_before=record["epochs"])


def load_parent(assembly: Assembly, parent: Run) -> str:
    """Load the weights of a finished run into backbone and heads.

    Returns:
        A sentence that names the loaded and the newly initialised parts.

    Raises:
        RunError: the weights do not fit the backbone or the heads.
    """
    load_weights(assembly.method.backbone, parent.backbone)
    load_weights(nn.ModuleList(assembly.method.heads.values()), parent.heads)
    assembly.method.on_weights_loaded()
    fresh = ["optimizer", "schedule"]
    fresh += [f"loss {name!r}" for name, loss in assembly.method.losses.items() if loss.state_dict()]
    transfer = f"backbone and heads are loaded, {', '.join(fresh[:-1])} and {fresh[-1]} start fresh"
    return f"continues from {parent.name}: {transfer}"
