"""The proposed recipe as TOML: every value with its reason above it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import tomli_w

from sslkit.errors import InputError
from sslkit.proposal import rules
from sslkit.proposal.rules import Choice, Facts

Table = dict[str, Choice]

WIDTH = 100


def propose(root: Path, facts: Facts) -> str:
    """A recipe for the images below ``root``, trainable as it is.

    Raises:
        InputError: there are too few images, or the folder's path cannot be written in TOML.
    """
    if facts.images < rules.FEWEST:
        raise InputError(
            f"{root} has {facts.images} images to train on: {rules.FEWEST} are the least, hundreds are few"
        )
    path = str(root.absolute())
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(f"the path {path!a} is no text that TOML can hold: rename the folder") from None
    parts = [f"# Proposed by `sslkit init` for {facts.images} images.  Change what you know better.\n"]
    parts += [_table(header, table) for header, table in _tables(path, facts)]
    return "\n".join(parts)


def run_name(root: Path) -> str:
    """The folder's name, as far as a run can be called so."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", root.absolute().name).strip("-._")[:64]
    return "pictures" if name in ("", "latest") else name


def _tables(path: str, facts: Facts) -> list[tuple[str, Table]]:
    epochs, batch = rules.epochs(facts), rules.batch_size(facts)
    steps = max(1, facts.images // batch.value)
    limit = rules.broken_limit(facts)
    hidden = Choice([256 if rules.backbone(facts)["use"].value == "convnet" else 4096])
    return [
        ("[run]", {"name": Choice(run_name(Path(path)))}),
        (
            "[train]",
            {
                "epochs": epochs,
                "batch_size": batch,
                "checkpoint_every": Choice(f"{max(1, round(200 / steps))} epochs", "about every 200 steps"),
            },
        ),
        (
            "[data]",
            {
                "use": Choice("image-folder"),
                "root": Choice(path),
                "channels": rules.channels(facts),
                "size": rules.stored_size(facts),
                **({"broken_limit": limit} if limit else {}),
            },
        ),
        ("[views]", rules.views(facts)),
        ("[backbone]", rules.backbone(facts)),
        (
            "[[head]]",
            {
                "name": Choice("classes"),
                "use": Choice("selfcls-mlp"),
                "hidden_dims": hidden,
                "classifiers": rules.classifiers(facts),
            },
        ),
        (
            "[[head]]",
            {
                "name": Choice("styles"),
                "use": Choice("selfcls-mlp"),
                "hidden_dims": hidden,
                "classifiers": rules.styles(facts),
            },
        ),
        (
            "[[loss]]",
            {
                "name": Choice("classes"),
                "use": Choice("selfcls"),
                "head": Choice("classes"),
                "start_epoch": Choice(
                    epochs.value // 2, "half-way: classes that are sought from the beginning are those of pixels"
                ),
            },
        ),
        ("[[loss]]", {"name": Choice("styles"), "use": Choice("selfcls"), "head": Choice("styles")}),
        (
            "[optimizer]",
            {
                "use": Choice("adamw"),
                "lr": rules.learning_rate(facts),
                "warmup_epochs": Choice(min(3, epochs.value - 1)),
            },
        ),
        ("[monitor]", {"every_epochs": Choice(max(1, epochs.value // 10), "measured ten times")}),
        (
            "[evaluation]",
            {"classifier": Choice("lowest-loss", "of the restarts; no label is needed for it")},
        ),
    ]


def _table(header: str, table: Table) -> str:
    lines = [header]
    for key, choice in table.items():
        lines += textwrap.wrap(choice.why, WIDTH, initial_indent="# ", subsequent_indent="# ")
        lines.append(f"{key} = {_value(choice.value)}")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, list):
        text = f"[{', '.join(map(_value, value))}]"
        return (
            text
            if len(text) <= WIDTH
            else "[\n" + textwrap.fill(text[1:-1], WIDTH, initial_indent="    ", subsequent_indent="    ") + ",\n]"
        )
    return tomli_w.dumps({"value": value}).removeprefix("value = ").strip()
