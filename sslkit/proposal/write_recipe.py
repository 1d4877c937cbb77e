"""Write a proposed recipe as TOML, with a comment above each value that gives the reason."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from sslkit.errors import InputError
from sslkit.proposal import rules
from sslkit.proposal.folder_facts import FolderFacts
from sslkit.proposal.rules import Choice

WIDTH = 100
"""Width of the comments in characters."""


class _Table(NamedTuple):
    header: str
    purpose: str
    choices: dict[str, Choice]


def propose_recipe(root: Path, facts: FolderFacts, epochs: Choice | None = None) -> str:
    """Return a complete recipe for the images in a folder.

    Args:
        root: the folder.
        facts: facts about the folder.
        epochs: the number of epochs; with None, the rules choose it.

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
    return "\n".join([head, *map(_format_table, _tables(path, facts, epochs or rules.epochs(facts)))])


def run_name(root: Path) -> str:
    """Convert the folder's name to a valid run name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", root.absolute().name).strip("-._")[:64]
    return "images" if name in ("", "latest") else name


def _tables(path: str, facts: FolderFacts, epochs: Choice) -> list[_Table]:
    limit, values = rules.broken_limit(facts), rules.value_range(facts)
    hidden = Choice([256 if rules.backbone(facts)["use"].value == "convnet" else 4096])
    start_epoch = Choice("50%", "Starts late: from the first epoch on, it would group images by pixel values.")

    def head(name: str, classifiers: Choice) -> dict[str, Choice]:
        return {
            "name": Choice(name),
            "use": Choice("selfcls-mlp"),
            "hidden_dims": hidden,
            "classifiers": classifiers,
        }

    run = {"name": Choice(run_name(Path(path)), "Name of the run's folder.")}
    train = {
        "epochs": epochs,
        "batch_size": rules.batch_size(facts),
        "checkpoint_every": Choice("5%", "Of the training; `sslkit resume` continues there."),
    }
    data = {
        "use": Choice("image-folder"),
        "root": Choice(path),
        **rules.labels(facts),
        "channels": rules.channels(facts),
        "size": rules.stored_size(facts),
        **({"value_range": values} if values else {}),
        **({"broken_limit": limit} if limit else {}),
    }
    classes_loss = {
        "name": Choice("classes"),
        "use": Choice("selfcls"),
        "head": Choice("classes"),
        "start_epoch": start_epoch,
    }
    styles_loss = {"name": Choice("styles"), "use": Choice("selfcls"), "head": Choice("styles")}
    optimizer = {
        "use": Choice("adamw"),
        "lr": rules.learning_rate(facts),
        "warmup_epochs": Choice("5%"),
    }
    monitor = {"every_epochs": Choice("10%", "About ten times during the training.")}
    evaluation = {"classifier": Choice("lowest-loss", "Needs no labels.")}
    return [
        _Table("[run]", "", run),
        _Table("[train]", "", train),
        _Table("[data]", "The images. They are decoded once and cached.", data),
        _Table(
            "[views]",
            "Random augmentations. The views of an image are trained to get the same class.",
            rules.views(facts),
        ),
        _Table("[backbone]", "The network that computes an image's features.", rules.backbone(facts)),
        _Table(
            "[[head]]",
            "Classifiers on the features. They discover the classes.",
            head("classes", rules.classifiers(facts)),
        ),
        _Table("[[head]]", "Auxiliary classifiers, for the training only.", head("styles", rules.styles(facts))),
        _Table("[[loss]]", "Trains the classifiers that discover the classes.", classes_loss),
        _Table("[[loss]]", "Trains the auxiliary classifiers, from the first epoch on.", styles_loss),
        _Table("[optimizer]", "", optimizer),
        _Table("[monitor]", "How often metrics are computed during the training.", monitor),
        _Table("[evaluation]", "Which classifier gives the classes after the training.", evaluation),
    ]


def _format_table(table: _Table) -> str:
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
