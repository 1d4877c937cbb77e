"""Model card: metadata and evaluations of an exported network as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sslkit.data.datasets.folder.scan import printable
from sslkit.files import to_json
from sslkit.reporting.evaluation_tables import full_protocol, latest_results, metrics_table
from sslkit.runs.evaluation_result import EvaluationResult

PREPARATION = """\
Prepare images as in evaluation. Scale values to [0, 1] and resize the shorter side to {size} pixels ({interpolation},
antialiased). Crop the central {size} x {size} pixels, then compute `(value - mean) / std` for each channel, with

    mean = {mean}
    std = {std}
"""


def model_card(
    file: str,
    to: str,
    loading_code: str,
    contents: str,
    metadata: Mapping[str, Any],
    evaluations: Sequence[EvaluationResult],
) -> str:
    """Return the model card as Markdown.

    Args:
        file: name of the exported file.
        to: name of the format or library.
        loading_code: Python code that loads the file.
        contents: a sentence about the contents of the file.
        metadata: metadata of the export.
        evaluations: the run's evaluations, oldest first.
    """
    training = metadata["training"]
    components = "\n".join(f"- {_text(path)}: {_code(name)}" for path, name in training["components"].items())
    parts = [
        f"# {_text(file)}\n",
        f"A network that [sslkit](https://pypi.org/project/sslkit) trained without labels: run "
        f"{_code(metadata['run'])}, exported to {_text(to)}. {contents}\n",
        f"## Loading\n\n```python\n{loading_code}\n```\n",
        "## Images\n\n" + PREPARATION.format(**metadata["input"]),
        f"A feature has {metadata['feature_dim']} values.\n",
        _classes(metadata),
        f"## Training\n\n{_text(training['images'])} images of {_text(' x '.join(map(str, training['image_shape'])))} "
        f"(channels, height, width), {_text(training['steps'])} steps, seed {_text(training['seed'])}.\n\n"
        f"{components}\n",
        _json({"backbone": metadata["backbone"], "resolved": metadata["resolved"], "versions": training["versions"]}),
        "## Metrics\n\n" + (_metrics(evaluations) or "The run has not been evaluated.\n"),
    ]
    return "\n".join(part for part in parts if part)


def _classes(metadata: Mapping[str, Any]) -> str:
    if "classes" not in metadata:
        return ""
    classes = metadata["classes"]
    temperature = classes["temperature"]
    probabilities = "" if temperature is None else f"; probabilities are `softmax(logits / {temperature:g})`"
    text = (
        f"## Classes\n\nThe network discovered {classes['count']} classes (classifier {classes['classifier']} of the "
        f"head {_code(classes['head'])}{probabilities})."
    )
    if trained_with := classes["trained_with_corrections"]:
        text += f" The head was trained with corrections that a user made to {trained_with} images."
    if corrected := classes["corrected_images"]:
        text += (
            f" A user corrected the classes of {corrected} images, which this network was not trained with. To train "
            f"its head with them, run {_code('sslkit train --corrections ' + metadata['run'])}, and export the new run."
        )
    if classes["names"] is None:
        return f"{text} They have no names.\n"
    names = [f"- {number}: {_code(name) if name else 'no name'}\n" for number, name in enumerate(classes["names"])]
    merged = {number for number, leader in enumerate(classes["merged"]) if leader != number}
    if merged:
        text += f" Classes with the same name are one class, so there are {classes['count'] - len(merged)} classes."
    return f"{text} Names that users gave them:\n\n{''.join(names)}"


def _metrics(evaluations: Sequence[EvaluationResult]) -> str:
    """Return the latest metrics of each evaluator, with baselines and protocol, as Markdown."""
    parts = []
    titles = Counter[str]()
    for name, result in latest_results(evaluations, "").values():
        protocol = result.protocol
        title = f"{_text(name)} on {_text(protocol.get('data', 'its data'))}"
        title += ", not the run's own data" if "data_options" in protocol else ""
        titles[title] += 1
        title += f" ({titles[title]})" if titles[title] > 1 else ""
        # The options may contain private paths.
        public = {key: value for key, value in full_protocol(result).items() if key != "data_options"}
        columns, rows = metrics_table({name: result})
        parts.append(f"### {title}\n\n{_table(columns, rows)}\n{_json(public)}")
    return "\n".join(parts)


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [["", *columns], ["---"] * (len(columns) + 1), *rows]
    return "".join(f"| {' | '.join(map(_text, line))} |\n" for line in lines)


def _json(value: Any) -> str:
    # Safe in a code block: JSON escapes control characters, and no line of indented JSON starts with a fence.
    return f"```json\n{to_json(value)}\n```\n"


def _code(text: str) -> str:
    """Return text as a Markdown code span, without backticks and control characters inside."""
    return f"`{printable(text).replace('`', chr(39))}`"


def _text(value: object) -> str:
    """Return a value as text in which Markdown syntax and control characters are escaped."""
    return "".join(
        letter if letter.isalnum() or letter in " ._-:" else f"&#{ord(letter)};" for letter in printable(str(value))
    )
