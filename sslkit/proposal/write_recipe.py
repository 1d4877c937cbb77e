"""Write a proposed recipe as TOML, with a comment above each value that gives the reason."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import tomli_w

from sslkit.errors import InputError
from sslkit.features.class_count import ClassCountProposal
from sslkit.proposal import rules
from sslkit.proposal.folder_facts import FolderFacts
from sslkit.proposal.pretrained_weights import PretrainedWeights
from sslkit.proposal.rules import Choice
from sslkit.proposal.tables import Table, pretrained_tables, scratch_tables

WIDTH = 100
"""Width of the comments in characters."""


def propose_recipe(
    root: Path,
    facts: FolderFacts,
    weights: PretrainedWeights | None = None,
    *,
    epochs: Choice | None = None,
    sweep: ClassCountProposal | None = None,
) -> str:
    """Return a complete recipe for the images in a folder.

    Args:
        root: the folder.
        facts: facts about the folder.
        weights: the pretrained weights that the recipe starts from, or None to train from scratch.
        epochs: the number of epochs; if None, the rules choose it.
        sweep: the proposed number of classes, or None if numbers of classes were not compared.

    Raises:
        InputError: there are too few images, or TOML cannot contain the folder's path.
    """
    if facts.images < rules.MIN_IMAGES:
        raise InputError(
            f"{root} has {facts.images} training images: at least {rules.MIN_IMAGES} are needed, and a useful training "
            "needs hundreds"
        )
    path = str(root.absolute())
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(f"the path {path!a} cannot be written as TOML: rename the folder") from None
    head = (
        f"# Proposed by `sslkit init` for {facts.images} images. Comments give reasons; change what you know better.\n"
        "# `sslkit recipes check FILE` finds mistakes, `sslkit train FILE --dry-run` tries one batch.\n"
    )
    if weights is None:
        tables = scratch_tables(path, facts, epochs)
    else:
        tables = pretrained_tables(path, facts, weights, epochs, sweep)
    return "\n".join([head, *map(_format_table, tables)])


def _format_table(table: Table) -> str:
    lines = [*_comment(table.purpose), table.header]
    for key, choice in table.choices.items():
        lines += [*_comment(choice.reason), f"{key} = {_format_value(choice.value)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _format_value(value: Any) -> str:
    if isinstance(value, list):
        text = f"[{', '.join(map(_format_value, value))}]"
        return (
            text
            if len(text) <= WIDTH
            else "[\n" + textwrap.fill(text[1:-1], WIDTH, initial_indent="    ", subsequent_indent="    ") + ",\n]"
        )
    return tomli_w.dumps({"value": value}).removeprefix("value = ").strip()
