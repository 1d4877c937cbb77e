"""The model card: what stands in the file, in words and Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sslkit.data.datasets.folder.scan import shown
from sslkit.files import to_json
from sslkit.reporting import evaluations
from sslkit.runs.evaluation_result import EvaluationResult

PREPARE = """\
Images are prepared as in evaluation: values in 0..1, the shorter side resized to {size} pixels (bilinear, antialiased),
the central square of {size} x {size} cut out, then for each channel `(value - mean) / std` with

    mean = {mean}
    std = {std}
"""

ONNX_CODE = """\
import numpy
import onnxruntime

session = onnxruntime.InferenceSession({file!a}, providers=["CPUExecutionProvider"])
images = numpy.zeros((1, {channels}, {size}, {size}), dtype=numpy.float32)  # prepared as below
{outputs} = session.run(None, {{"images": images}})"""

OWN_CODE = """\
import sslkit

trained = sslkit.load_backbone({file!a})
model = trained.backbone"""


def card(file: str, form: str, loading: str, left_out: str, facts: Mapping[str, Any], saved: list[EvaluationResult]) -> str:
    """The card as Markdown.

    Args:
        file: name of the file it is about.
        form: what the file was exported to.
        loading: Python that loads it.
        left_out: what of the network is not in the file, in a sentence.
        facts: what stands in the file.
        saved: the run's evaluations.
    """
    given = facts["input"]
    training = facts["training"]
    parts = [
        f"# {_text(file)}\n",
        f"A network that [sslkit](https://pypi.org/project/sslkit) trained without labels: run {_code(facts['run'])}, "
        f"exported for {_text(form)}.  {left_out}\n",
        f"## Loading\n\n```python\n{loading}\n```\n",
        "## Images\n\n" + PREPARE.format(**given),
        f"The feature has {facts['feature_dim']} numbers.\n",
        _classes(facts),
        f"## Training\n\n{_text(training['images'])} images of {_text(' x '.join(map(str, training['image_shape'])))} "
        f"(channels, height, width), {_text(training['steps'])} steps, seed {_text(training['seed'])}.\n\n"
        + "\n".join(f"- {_text(path)}: {_code(name)}" for path, name in training["components"].items())
        + "\n",
        _block({"backbone": facts["backbone"], "settled": facts["settled"], "versions": training["versions"]}),
        "## Figures\n\n" + (_figures(saved) or "The run has not been evaluated.\n"),
    ]
    return "\n".join(part for part in parts if part)


def _classes(facts: Mapping[str, Any]) -> str:
    if "classes" not in facts:
        return ""
    classes = facts["classes"]
    told = (
        "" if classes["temperature"] is None else f", `softmax(logits / {classes['temperature']:g})` are probabilities"
    )
    lines = [
        f"## Classes\n\nThe network discovered {classes['count']} classes (classifier {classes['classifier']} of the "
        f"head {_code(classes['head'])}{told})."
    ]
    if classes["names"] is None:
        return lines[0] + "  Nobody has named them.\n"
    lines.append("Names given to them:\n")
    lines += [f"- {place}: {_code(name) if name else 'no name'}" for place, name in enumerate(classes["names"])]
    return "\n".join(lines) + "\n"


def _figures(saved: list[EvaluationResult]) -> str:
    """The newest figures of each evaluation beside their baselines, and the protocol they were obtained by."""
    parts = []
    seen = Counter[str]()
    for name, result in evaluations.newest(saved, "").values():
        protocol = result.protocol
        title = f"{_text(name)} on {_text(protocol.get('data', 'its data'))}"
        title += ", other data than the run's own" if "data_options" in protocol else ""
        seen[title] += 1
        title += f" ({seen[title]})" if seen[title] > 1 else ""
        # Where the data lie on somebody's disk concerns nobody who reads a card.
        said = {key: value for key, value in evaluations.full_protocol(result).items() if key != "data_options"}
        columns, rows = evaluations.table({name: result})
        parts.append(f"### {title}\n\n{_table(columns, rows)}\n{_block(said)}")
    return "\n".join(parts)


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [["", *columns], ["---"] * (len(columns) + 1), *rows]
    return "".join(f"| {' | '.join(map(_text, line))} |\n" for line in lines)


def _block(value: Any) -> str:
    # What names hold beside printable characters, JSON escapes; no line of indented JSON can end the block.
    return f"```json\n{to_json(value)}\n```\n"


def _code(text: str) -> str:
    """Text that neither Markdown nor a terminal reads as anything else."""
    return f"`{shown(text).replace('`', chr(39))}`"


def _text(value: object) -> str:
    """The same outside of code."""
    return "".join(sign if sign.isalnum() or sign in " ._-:" else f"&#{ord(sign)};" for sign in shown(str(value)))
