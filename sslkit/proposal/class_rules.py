"""Rules for the number of classes and the classifiers of a recipe that trains from scratch."""

from __future__ import annotations

from sslkit.proposal.folder_facts import FolderFacts
from sslkit.proposal.rules import Choice

UNKNOWN_CLASSES = 20
"""Number of classes to discover if the true number is unknown. Excess classes can be merged by giving them the same
name, but classes cannot be split. On ten handwritten digits, 20 classes named by majority label 98 % of the images
correctly; with 5 classes, at most 50 % can be correct. The loss does not show the true number, because the loss divided
by ln K is lowest for the fewest classes."""

RESTARTS = 40
"""Number of classifiers with the same number of classes. Each classifier finds a different grouping and costs
little."""

MIN_IMAGES_PER_CLASS = 20
"""Minimum number of images for a network to recognise a class."""


def class_count(facts: FolderFacts) -> int:
    """Return the known number of classes, else a high guess that leaves enough images for each class."""
    return facts.classes or max(2, min(UNKNOWN_CLASSES, facts.images // MIN_IMAGES_PER_CLASS))


def classes(facts: FolderFacts) -> Choice:
    """Choose the number of classes: the known number, else a guess."""
    count = class_count(facts)
    if facts.classes:
        return Choice(count, f"{count} classes, from --classes or the class folders.")
    return Choice(
        count,
        f"{count} classes, a guess, because their number is unknown. If you know it, run init with --classes N. "
        "Too many classes can be merged by giving them the same name; too few cannot be split.",
    )


def classifiers(facts: FolderFacts) -> Choice:
    """Choose ``RESTARTS`` classifiers that discover the classes, all with the same number of classes.

    All classifiers are trained, and evaluation uses the classifier with the lowest loss. The value of the choice is a
    list with the number of classes of each classifier.
    """
    restarts = f"{RESTARTS} classifiers are trained, and the classifier with the lowest loss is used."
    count = classes(facts)
    return Choice([count.value] * RESTARTS, f"{count.reason} {restarts}")


def styles(facts: FolderFacts) -> Choice:
    """Choose the numbers of classes of two auxiliary classifiers, which only help the backbone learn useful features.

    They have 3 and 5 times as many classes as the classifiers that discover the classes, or fewer in a small folder.
    """
    most = max(2, facts.images // MIN_IMAGES_PER_CLASS)
    sizes = [min(most, factor * class_count(facts)) for factor in (3, 5)]
    return Choice(sizes, "More classes than you look for: telling them apart teaches the backbone useful features.")
