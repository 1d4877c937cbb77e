"""Rules for a recipe that starts from pretrained weights and discovers classes in the features of a frozen network."""

from __future__ import annotations

from sslkit.features.class_count import ClassCountProposal
from sslkit.proposal import class_rules, rules
from sslkit.proposal.folder_facts import FolderFacts
from sslkit.proposal.pretrained_weights import PretrainedWeights
from sslkit.proposal.rules import Choice

SMALL_SIDE = 64
"""Images of at most this side in pixels are enlarged to ``ENLARGED_SIDE`` instead of the size that
the weights were trained with."""

ENLARGED_SIDE = 128
"""Side of enlarged small images in pixels. At 224 pixels, features would take three times as long."""

SMALL_FOLDER = 2000
"""Maximum number of images in a small folder; small folders use fewer neighbours and steps."""

NEIGHBOURS = {True: 5, False: 20}
"""Number of nearest neighbours k of each image in a small folder, and in a large folder. In small classes, distant
neighbours belong to other classes."""

HEADS = 20
"""Number of classifiers with the same number of classes."""

BATCH_SIZE = 512
"""Largest batch size; the loss balances the classes within a batch."""

STEPS = {True: 600, False: 1500}
"""Number of optimizer steps for a small folder, and for a large folder."""

EPOCHS = (10, 1000)
"""Minimum and maximum number of epochs."""


def use_pretrained(facts: FolderFacts, weights: PretrainedWeights | None) -> PretrainedWeights | None:
    """Return the weights if the recipe should start from them, or None to train from scratch.

    The weights were trained on photographs and do not suit plain symbols: k-means on handwritten digits is less
    accurate with these features than with pixels.
    """
    return None if facts.shows_symbols else weights


def view_size(facts: FolderFacts, weights: PretrainedWeights) -> Choice:
    """Choose the size of the views: the size that the weights were trained with, or a smaller size for small images."""
    own = weights.preprocessing.size
    if facts.side <= SMALL_SIDE and own > ENLARGED_SIDE:
        return Choice(
            ENLARGED_SIDE,
            f"Side in pixels. The weights are used to {own} pixels, but images of {facts.side} pixels gain little from "
            f"more than {ENLARGED_SIDE}, and the cost grows with the square of the side.",
        )
    return Choice(own, "Side in pixels, for which the weights were trained.")


def stored_size(facts: FolderFacts, weights: PretrainedWeights) -> Choice:
    """Choose the size of the stored images: the size of the views, or the images' own size if that is smaller."""
    if facts.side < rules.MIN_SIDE:
        return rules.stored_size(facts)
    side = min(facts.side, view_size(facts, weights).value)
    if side < facts.side:
        return Choice(side, f"Scaled down from a median of {facts.side} pixels: the views are not larger.")
    return Choice(side, rules.own_size_reason(facts))


def views(facts: FolderFacts, weights: PretrainedWeights) -> dict[str, Choice]:
    """Choose views without augmentation, so that the features of the images need to be computed only once."""
    return {
        "use": Choice("plain", "No augmentation: similar images take its place, and features are computed only once."),
        "size": view_size(facts, weights),
    }


def positives(facts: FolderFacts) -> dict[str, Choice]:
    """Choose nearest neighbours as the positives of each image."""
    small = facts.images <= SMALL_FOLDER
    count = NEIGHBOURS[small]
    return {
        "use": Choice("neighbours"),
        "k": Choice(
            min(count, facts.images - 1),
            f"Number of nearest neighbours; {count} suit a {'small' if small else 'large'} folder.",
        ),
    }


def backbone(weights: PretrainedWeights) -> dict[str, Choice]:
    """Choose the backbone that belongs to the weights, and freeze it."""
    return {
        "use": Choice(weights.backbone),
        "weights": Choice(weights.source, "On this machine already."),
        "train": Choice("none", "Features are computed once. Training the backbone is slow and often does not help."),
    }


def head(classes: Choice) -> dict[str, Choice]:
    """Choose the head: a small network with ``HEADS`` classifiers.

    Args:
        classes: the number of classes, with the reason.
    """
    restarts = f"{HEADS} classifiers are trained, and the classifier with the lowest loss is used."
    return {
        "use": Choice("selfcls-mlp"),
        "hidden_dims": Choice([512]),
        "embedding_dim": Choice(128),
        "dropout": Choice(0.2, "Classifiers must not memorise single images."),
        "classifiers": Choice([classes.value] * HEADS, f"{classes.reason} {restarts}"),
    }


def classes(facts: FolderFacts, sweep: ClassCountProposal | None) -> Choice:
    """Choose the number of classes: the known number, else the number that the sweep proposes, else a guess."""
    if sweep is not None:
        plausible = f"; {sweep.low} to {sweep.high} are plausible" if sweep.low < sweep.high else ""
        return Choice(
            sweep.classes,
            f"{sweep.classes} classes, proposed from the features without labels{plausible}. "
            + " ".join(sweep.reasons),
        )
    return class_rules.classes(facts)


def batch_size(facts: FolderFacts) -> Choice:
    """Choose the largest batch size, up to ``BATCH_SIZE``, with at least two steps per epoch."""
    if facts.images >= 2 * BATCH_SIZE:
        return Choice(BATCH_SIZE, "Large enough for many images of each class.")
    size = max(min(rules.MIN_IMAGES, facts.images), facts.images // 2)
    return Choice(size, f"Gives {facts.images // size} steps per epoch.")


def epochs(facts: FolderFacts) -> Choice:
    """Choose the number of epochs that gives about ``STEPS`` optimizer steps."""
    steps = max(1, facts.images // batch_size(facts).value)
    count = min(EPOCHS[1], max(EPOCHS[0], -(-STEPS[facts.images <= SMALL_FOLDER] // steps)))
    return Choice(count, f"{count * steps} optimizer steps in total.")


def optimizer() -> dict[str, Choice]:
    """Choose AdamW with a learning rate that suits a small head trained on features."""
    return {"use": Choice("adamw"), "lr": Choice(1e-3), "weight_decay": Choice(1e-4), "warmup_epochs": Choice("5%")}
