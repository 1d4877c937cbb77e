"""Build the TOML tables of a proposed recipe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from sslkit.features.class_count import ClassCountProposal
from sslkit.proposal import class_rules, pretrained_rules, rules
from sslkit.proposal.folder_facts import FolderFacts
from sslkit.proposal.pretrained_weights import PretrainedWeights
from sslkit.proposal.rules import Choice

DATA_PURPOSE = "The images. They are decoded once and cached."
LOWEST_LOSS = {"classifier": Choice("lowest-loss", "Needs no labels.")}


class Table(NamedTuple):
    """Table of a recipe.

    Attributes:
        header: header of the table, such as ``[run]``.
        purpose: a sentence for the comment above the header; may be empty.
        choices: values of the table, keyed by name.
    """

    header: str
    purpose: str
    choices: dict[str, Choice]


def run_name(root: Path) -> str:
    """Convert the folder's name to a valid run name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", root.absolute().name).strip("-._")[:64]
    return "images" if name in ("", "latest") else name


def _run(path: str) -> Table:
    return Table("[run]", "", {"name": Choice(run_name(Path(path)), "Name of the run's folder.")})


def _data(path: str, facts: FolderFacts, size: Choice) -> Table:
    limit, values = rules.broken_limit(facts), rules.value_range(facts)
    choices = {
        "use": Choice("image-folder"),
        "root": Choice(path),
        **rules.labels(facts),
        "channels": rules.channels(facts),
        "size": size,
        **({"value_range": values} if values else {}),
        **({"broken_limit": limit} if limit else {}),
    }
    return Table("[data]", DATA_PURPOSE, choices)


def pretrained_tables(
    path: str,
    facts: FolderFacts,
    weights: PretrainedWeights,
    epochs: Choice | None = None,
    sweep: ClassCountProposal | None = None,
) -> list[Table]:
    """Return the tables of a recipe that discovers classes in the features of pretrained weights.

    Args:
        path: path of the folder of images.
        facts: facts about the folder.
        weights: the weights.
        epochs: the number of epochs; if None, the rules choose it.
        sweep: the proposed number of classes, or None if numbers of classes were not compared.
    """
    train = {
        "epochs": epochs or pretrained_rules.epochs(facts),
        "batch_size": pretrained_rules.batch_size(facts),
        "precision": Choice("float32", "The classifiers are small: bfloat16 would not make them faster."),
        "checkpoint_every": Choice("25%", "Of the training; `sslkit resume` continues there."),
    }
    return [
        _run(path),
        Table("[train]", "", train),
        _data(path, facts, pretrained_rules.stored_size(facts, weights)),
        Table("[views]", "What the network reads of an image.", pretrained_rules.views(facts, weights)),
        Table(
            "[positives]",
            "Images that are trained to get the same class: those with similar features.",
            pretrained_rules.positives(facts),
        ),
        Table("[backbone]", "The network that computes an image's features.", pretrained_rules.backbone(weights)),
        Table(
            "[head]",
            "Classifiers on the features. They discover the classes.",
            pretrained_rules.head(pretrained_rules.classes(facts, sweep)),
        ),
        Table("[loss]", "", {"use": Choice("selfcls")}),
        Table("[optimizer]", "", pretrained_rules.optimizer()),
        Table(
            "[monitor]",
            "How often metrics are computed during the training.",
            {"every_epochs": Choice("25%", "About four times during the training.")},
        ),
        Table("[evaluation]", "Which classifier gives the classes after the training.", LOWEST_LOSS),
    ]


def scratch_tables(path: str, facts: FolderFacts, epochs: Choice | None = None) -> list[Table]:
    """Return the tables of a recipe that trains from scratch.

    Args:
        path: path of the folder of images.
        facts: facts about the folder.
        epochs: the number of epochs; if None, the rules choose it.
    """
    hidden = Choice([256 if rules.backbone(facts)["use"].value == "convnet" else 4096])
    start_epoch = Choice("50%", "Starts late: from the first epoch on, it would group images by pixel values.")

    def head(name: str, classifiers: Choice) -> dict[str, Choice]:
        return {
            "name": Choice(name),
            "use": Choice("selfcls-mlp"),
            "hidden_dims": hidden,
            "classifiers": classifiers,
        }

    train = {
        "epochs": epochs or rules.epochs(facts),
        "batch_size": rules.batch_size(facts),
        "checkpoint_every": Choice("5%", "Of the training; `sslkit resume` continues there."),
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
    return [
        _run(path),
        Table("[train]", "", train),
        _data(path, facts, rules.stored_size(facts)),
        Table(
            "[views]",
            "Random augmentations. The views of an image are trained to get the same class.",
            rules.views(facts),
        ),
        Table("[backbone]", "The network that computes an image's features.", rules.backbone(facts)),
        Table(
            "[[head]]",
            "Classifiers on the features. They discover the classes.",
            head("classes", class_rules.classifiers(facts)),
        ),
        Table("[[head]]", "Auxiliary classifiers, for the training only.", head("styles", class_rules.styles(facts))),
        Table("[[loss]]", "Trains the classifiers that discover the classes.", classes_loss),
        Table("[[loss]]", "Trains the auxiliary classifiers, from the first epoch on.", styles_loss),
        Table("[optimizer]", "", optimizer),
        Table("[monitor]", "How often metrics are computed during the training.", monitor),
        Table("[evaluation]", "Which classifier gives the classes after the training.", LOWEST_LOSS),
    ]
