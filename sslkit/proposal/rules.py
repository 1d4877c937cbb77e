"""Rules that derive each value of a recipe that trains from scratch, with its reason, from facts about a folder.

``pretrained_rules`` contains the rules for recipes that start from pretrained weights.

Pixels show neither whether a mirrored image keeps its meaning nor how many classes there are. The rules guess both
values, and the reason for each value states that it is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sslkit.data.value_range import TOP, suggest_range
from sslkit.proposal.folder_facts import FolderFacts

MIN_IMAGES = 8
"""Minimum number of images for a proposed recipe, because a batch needs this number of images."""

FEW_IMAGES = 500
"""Number of images below which classes learned from scratch are rarely useful."""

MIN_SIDE = 16
"""Minimum side of stored images in pixels; smaller images are enlarged. The quick start's 8-pixel digits reach an
accuracy of 0.967 at 16 pixels and 0.921 at 12 pixels, because five convolutions need space."""

MAX_VIEW_SIDE = {False: 32, True: 128}
"""Maximum side of a view in pixels, without and with a GPU."""

STORED_SCALE = 2
"""Ratio of the stored image's side to the view's side, so that small crops keep detail."""

CONVNET_MAX_SIDE = 32
"""Maximum view side in pixels for the small five-layer network."""

BATCH_SIZES = (32, 256)
"""Minimum and maximum batch size, both powers of two."""

MIN_STEPS_PER_EPOCH = 20
"""Minimum number of steps per epoch; small folders get smaller batches to reach this minimum."""

STEPS = {False: 2000, True: 20_000}
"""Number of optimizer steps to train for, without and with a GPU."""

EPOCHS = (30, 400)
"""Minimum and maximum number of epochs."""


@dataclass(frozen=True)
class Choice:
    """A value and the reason for it.

    Attributes:
        value: the value.
        reason: a sentence for the recipe's comment, or ``""`` if the value needs no reason.
    """

    value: Any
    reason: str = ""


def channels(facts: FolderFacts) -> Choice:
    """Choose RGB for colour images, else grey."""
    if facts.colour:
        return Choice(3, "RGB, because the images show colour.")
    return Choice(1, "Grey, because at most 1 % of the images show colour.")


def view_size(facts: FolderFacts) -> Choice:
    """Choose the size of the views, within the limits of the network and the hardware."""
    largest = MAX_VIEW_SIDE[facts.has_gpu]
    if facts.side < MIN_SIDE:
        return Choice(MIN_SIDE, "The side of the enlarged images in pixels.")
    if facts.side > largest:
        device = "a GPU" if facts.has_gpu else "a CPU"
        return Choice(
            largest,
            f"Side in pixels; larger views train slowly on {device}, as the cost grows with the square of the side.",
        )
    return Choice(facts.side, "The images' shorter side in pixels.")


def stored_size(facts: FolderFacts) -> Choice:
    """Choose the size of the stored images: the smallest size at which crops keep their detail."""
    if facts.side < MIN_SIDE:
        return Choice(MIN_SIDE, f"Enlarged from {facts.side} pixels: smaller images are too small for the network.")
    side = min(facts.side, STORED_SCALE * view_size(facts).value)
    if side < facts.side:
        return Choice(
            side, f"Scaled down from a median of {facts.side} pixels: {STORED_SCALE} times the view's side is enough."
        )
    return Choice(side, own_size_reason(facts))


def own_size_reason(facts: FolderFacts) -> str:
    """Return the recipe comment for a stored size that equals the images' own shorter side."""
    if facts.one_size and facts.square:
        return "The images' own size in pixels."
    if facts.one_size:
        return 'The images\' shorter side: the middle square is kept. "auto" keeps the whole image.'
    return "The median shorter side; other images are scaled to it."


def broken_limit(facts: FolderFacts) -> Choice | None:
    """Choose a higher ``broken_limit`` if the folder has more unreadable files than the default limit allows."""
    if facts.broken <= 0.05:
        return None
    limit = min(1.0, round(facts.broken + 0.01, 2))
    return Choice(limit, f"{facts.broken:.1%} of the files cannot be read. Check them before you train without them.")


def value_range(facts: FolderFacts) -> Choice | None:
    """Choose a value range for images with more than 8 bits, if the range of their data type does not suit them.

    The range of the data type, such as 0 to 65535, does not suit images that use at most half of it, because about half
    or more of the 256 grey levels would remain unused. It also does not suit images with values outside it.
    """
    suggested = suggest_range(facts.extents)
    if suggested is None:
        return None
    (extent,) = facts.extents
    top = TOP[extent.kind]
    if extent.fits_type:
        reason = f", of {top} that the files can hold: without this range, {extent.levels} of 256 levels would be used."
    else:
        reason = f": without this range, files with values outside 0 to {top} cannot be read."
    return Choice(list(suggested), f"These values become black and white. The images' values are {extent}{reason}")


def labels(facts: FolderFacts) -> dict[str, Choice]:
    """Return the data set options that the user set with ``--labels`` and ``--hold-out``."""
    if facts.labels == "auto":
        return {}
    reason = "Each sub-folder is a class, from --labels. Labels are used for evaluation only."
    choices = {"labels": Choice(facts.labels, reason if facts.labels == "folders" else "From --labels.")}
    if facts.hold_out:
        share = f"{facts.hold_out:.0%}" if facts.hold_out >= 0.01 else f"{facts.hold_out:g}"
        choices["hold_out"] = Choice(
            facts.hold_out,
            f"Part of each class that becomes the test images ({share}), from --hold-out. They are never trained on; "
            "add hold_out_seed = 1 for different images.",
        )
    return choices


def views(facts: FolderFacts) -> dict[str, Choice]:
    """Choose affine views for symbols, which must stay whole and upright, and crops for all other images."""
    size = view_size(facts)
    if facts.shows_symbols:
        padding = "zeros" if facts.background is not None and facts.background < 128 else "border"
        return {
            "use": Choice(
                "affine",
                "Rotation, shift and scale, because the images show grey shapes on a plain background: a crop could "
                "cut a shape apart. Mirroring is off, because it changes letters and digits; if left and right do not "
                "matter in your images, add flip_p = 0.5.",
            ),
            "size": size,
            "padding": Choice(padding, f"Continues the background, level {facts.background} of 255."),
            "brightness": Choice(
                0.5, "Without brightness, contrast and blur, the classes would differ in stroke intensity only."
            ),
            "contrast": Choice(0.5),
            "jitter_p": Choice(1.0),
            "blur_p": Choice(0.5),
        }
    choices = {
        "use": Choice("crops", "Random crops, as for photographs: two parts of an image show the same thing."),
        "size": size,
        "flip_p": Choice(
            0.5, "A guess: set it to 0 if left and right matter in your images, as in writing or on maps."
        ),
    }
    if facts.background is not None:
        choices["global_scale"] = Choice([0.5, 1.0], "Large crops only: a small one could show only background.")
    elif not facts.has_gpu:
        choices["global_scale"] = Choice([0.3, 1.0], "No smaller crops: at this view size they lose their content.")
    if not facts.colour:
        choices["saturation"] = Choice(0.0, "Grey images have no colour to change.")
        choices["hue"] = Choice(0.0)
        choices["grayscale_p"] = Choice(0.0)
    return choices


def backbone(facts: FolderFacts) -> dict[str, Choice]:
    """Choose a small backbone for small images and for symbols, else ResNet-18 with a GPU and AlexNet without one."""
    size = view_size(facts).value
    if size <= MIN_SIDE or (facts.shows_symbols and size <= CONVNET_MAX_SIDE):
        return {"use": Choice("convnet", f"Five convolutions are enough for {size} pixels."), "width": Choice(16)}
    if facts.has_gpu:
        return {"use": Choice("resnet18", "The network of most published results.")}
    return {"use": Choice("alexnet", "The fastest of the larger networks on a CPU; with a GPU, use resnet18.")}


def batch_size(facts: FolderFacts) -> Choice:
    """Choose the largest batch size with at least ``MIN_STEPS_PER_EPOCH`` steps per epoch."""
    smallest, largest = BATCH_SIZES
    size = largest
    while size > smallest and facts.images < MIN_STEPS_PER_EPOCH * size:
        size //= 2
    if size > facts.images:
        return Choice(facts.images, "All images.")
    if size == largest:
        return Choice(size, "Large enough for more than one image of each class.")
    return Choice(size, f"Gives {facts.images // size} steps per epoch.")


def epochs(facts: FolderFacts) -> Choice:
    """Choose the number of epochs that gives about ``STEPS`` optimizer steps."""
    fewest, most = EPOCHS
    steps = max(1, facts.images // batch_size(facts).value)
    count = min(most, max(fewest, -(-STEPS[facts.has_gpu] // steps)))
    return Choice(count, f"{count * steps} optimizer steps in total.")


def learning_rate(facts: FolderFacts) -> Choice:
    """Choose the learning rate that suits the backbone."""
    return Choice(2e-3 if backbone(facts)["use"].value == "convnet" else 5e-4)
