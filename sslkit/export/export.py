"""Export a run's network: choose the format, write the file and its model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sslkit.errors import InputError
from sslkit.export.formats import prepare
from sslkit.export.metadata import export_metadata
from sslkit.export.model_card import model_card
from sslkit.files import require_new_file, write_atomic
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork


@dataclass(frozen=True)
class Exported:
    """The files of an export.

    Attributes:
        file: the network.
        card: the model card, Markdown.
        loading_code: Python code that loads the network.
        contents: what the file holds and leaves out, in a sentence.
        notes: sentences on installed versions that differ from those of the training, and on damaged evaluations.
    """

    file: Path
    card: Path
    loading_code: str
    contents: str
    notes: tuple[str, ...]


def export(run: Run, to: str, out: Path) -> Exported:
    """Export a run's network, and write a model card next to it.

    The export is verified on random images. A library's model loads the weights strictly and must give the backbone's
    features to 1e-5; onnxruntime must give the network's outputs to 1e-4.

    Args:
        run: a finished run.
        to: ``safetensors`` (sslkit's parameter names), ``onnx``, or a library in which the backbone has a counterpart.
        out: the file; must end in ``.onnx`` for ONNX, in ``.safetensors`` otherwise.

    Raises:
        InputError: this network has no such export, a package is missing, or a file exists already.
    """
    suffix = ".onnx" if to == "onnx" else ".safetensors"
    if out.suffix != suffix:
        raise InputError(f"--out must end in {suffix} for --to {to}: {out}")
    card = out.with_name(f"{out.name}.md")
    require_new_file(out, card)
    network = TrainedNetwork(run, "cpu")
    metadata = export_metadata(run, network)
    prepared = prepare(network, metadata, to, out.name)
    evaluations, damaged = read_evaluations(run)
    text = model_card(out.name, to, prepared.loading_code, prepared.contents, metadata, evaluations)
    write_atomic(out, prepared.to_bytes())
    write_atomic(card, text)
    notes = (*network.notes, *(f"{path} is left out of the card: {reason}" for path, reason in damaged.items()))
    return Exported(out, card, prepared.loading_code, prepared.contents, notes)
