"""Export the network of a run: choose the format, write the file and its model card."""

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
    """Result of an export.

    Attributes:
        file: path of the exported network.
        card: path of the model card, in Markdown.
        loading_code: Python code that loads the network.
        contents: a sentence about the contents of the file.
        notes: sentences about components whose installed version differs from the run's, and about damaged evaluations.
    """

    file: Path
    card: Path
    loading_code: str
    contents: str
    notes: tuple[str, ...]


def export(run: Run, to: str, out: Path) -> Exported:
    """Export the network of a run, and write a model card next to the file.

    The export is verified on random images. The features of a torchvision or timm model must match those of the
    backbone to within 1e-5. The outputs of onnxruntime must match those of the network to within 1e-4.

    Args:
        run: a finished run.
        to: ``safetensors`` (sslkit's parameter names), ``onnx``, or the name of a library that has an equivalent model.
        out: path of the new file; must end in ``.onnx`` for ONNX, else in ``.safetensors``.

    Raises:
        InputError: the network cannot be exported to ``to``, a package is missing, or an output file already exists.
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
