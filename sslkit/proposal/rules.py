"""The rules by which a recipe is proposed: each takes facts and gives a value with its reason.

Pixels do not tell everything.  Whether a mirrored image still means the same, and how many classes there are, only
the owner of the images knows; the rules say so where they have to guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sslkit.data.datasets.folder.survey import Survey
from sslkit.device.hardware import Hardware

FEWEST = 8
"""Images below which nothing is proposed: a batch of several views needs as many."""

FEW = 500
"""Images below which what is learned is rarely worth much."""

SMALLEST_SIDE = 16
"""Pixels that images are enlarged to: below, five convolutions have no room.  The quick start's digits of 8 pixels
gave 0.967 at 16, 0.921 at 12."""

LARGEST_VIEW = {False: 32, True: 128}
"""Largest side of a view in pixels, without and with an accelerator."""

STORED = 2
"""Images are stored with so many times the view's side, so that a small crop still shows something."""

CONVNET_UP_TO = 32
"""Largest view in pixels for the small network, which has but five layers."""

BATCH = (32, 256)
"""Smallest and largest batch, powers of two."""

STEPS_PER_EPOCH = 20
"""Steps that an epoch should at least have; small folders get smaller batches for it."""

STEPS = {False: 2000, True: 20_000}
"""Optimizer steps to train for, without and with an accelerator."""

EPOCHS = (30, 400)
"""Fewest and most epochs."""

UNKNOWN = 20
"""Classes that are sought where their number is not known.  The loss cannot tell: relative to ln K it is lowest for
the fewest classes.  But classes that are too many can be named alike, while one that holds two things stays what it
is: named by their majority, 20 classes of ten handwritten digits had 0.98 of the images right, 5 cannot have more than
half."""

RESTARTS = 40
"""Classifiers that seek the same number of classes: they end in different groupings, and cost little."""

IMAGES_PER_CLASS = 20
"""Images of a class that are the least to tell it by."""


@dataclass(frozen=True)
class Facts:
    """What the rules go by.

    Attributes:
        images: training images that can be read.
        side: their median shorter side in pixels.
        one_size: whether all have the same size.
        square: whether all of them are square.
        colour: whether more than one in a hundred shows colour.
        background: level of the plain background that nearly all share; None where there is none.
        classes: number of classes, where it is known; else 0.
        broken: part of the files that cannot be read, 0 to 1.
        accelerated: whether an accelerator trains.
    """

    images: int
    side: int
    one_size: bool
    colour: bool
    background: int | None
    classes: int
    broken: float
    accelerated: bool
    square: bool = True

    @classmethod
    def of(cls, survey: Survey, hardware: Hardware, classes: int = 0) -> Facts:
        """What was found in a folder; the number of its class folders, if it has any, unless ``classes`` tells."""
        return cls(
            images=survey.images,
            side=survey.shorter_sides[1],
            one_size=len(survey.sizes) == 1,
            colour=survey.colour > 0.01,
            background=survey.background,
            classes=classes or len(survey.labels.class_names),
            broken=survey.broken_share,
            accelerated=hardware.device != "cpu",
            square=all(height == width for height, width in survey.sizes),
        )

    @property
    def figures(self) -> bool:
        """Whether the images are grey figures on a plain background: digits, letters, symbols, silhouettes."""
        return not self.colour and self.background is not None


@dataclass(frozen=True)
class Choice:
    """A value, and why it was chosen; no reason where it only follows from another choice."""

    value: Any
    why: str = ""


def channels(facts: Facts) -> Choice:
    """RGB where there is colour."""
    if facts.colour:
        return Choice(3, "the images show colour")
    return Choice(1, "no more than one image in a hundred shows any colour")


def view_size(facts: Facts) -> Choice:
    """As large as the images, the smallest side and the hardware allow."""
    most = LARGEST_VIEW[facts.accelerated]
    if facts.side < SMALLEST_SIDE:
        return Choice(SMALLEST_SIDE, "the side of the enlarged images")
    if facts.side > most:
        where = "an accelerator" if facts.accelerated else "a processor"
        return Choice(most, f"as much as {where} trains on in bearable time; the cost grows with the square")
    return Choice(facts.side, "the shorter side of the images")


def stored_size(facts: Facts) -> Choice:
    """No larger than crops can use."""
    if facts.side < SMALLEST_SIDE:
        return Choice(SMALLEST_SIDE, f"enlarged from {facts.side} pixels: smaller ones leave convolutions no room")
    side = min(facts.side, STORED * view_size(facts).value)
    if side < facts.side:
        return Choice(side, f"scaled down from {facts.side} pixels (median): {STORED} times a view's side is enough")
    if facts.one_size:
        cut = 'the images\' shorter side: of each the middle square is kept; "auto" would keep all'
        return Choice(side, "the images' own" if facts.square else cut)
    return Choice(side, "the median shorter side; others are scaled to it")


def broken_limit(facts: Facts) -> Choice | None:
    """More than the default only where more files are broken."""
    if facts.broken <= 0.05:
        return None
    limit = min(1.0, round(facts.broken + 0.01, 2))
    return Choice(limit, f"{facts.broken:.1%} of the files cannot be read: look at them before you go on without them")


def views(facts: Facts) -> dict[str, Choice]:
    """Affine views of figures, which must stay whole and the right way round; crops of everything else."""
    size = view_size(facts)
    if facts.figures:
        padding = "zeros" if facts.background is not None and facts.background < 128 else "border"
        return {
            "use": Choice(
                "affine",
                "grey figures on a plain background: turned and shifted they stay what they are, cropped they may not. "
                "Nothing is mirrored, because letters and digits would change; if left and right mean nothing in your "
                "images, add flip_p = 0.5",
            ),
            "size": size,
            "padding": Choice(padding, f"around the figures is level {facts.background} of 255"),
            "brightness": Choice(0.5, "without jitter and blur, classes are shades of ink"),
            "contrast": Choice(0.5),
            "jitter_p": Choice(1.0),
            "blur_p": Choice(0.5),
        }
    found = {
        "use": Choice("crops", "the images differ up to their edges, as photographs do: parts of one show the same"),
        "size": size,
        "flip_p": Choice(
            0.5, "a guess that pixels cannot settle: set 0 if left and right matter, as in writing or maps"
        ),
    }
    if facts.background is not None:
        found["global_scale"] = Choice([0.5, 1.0], "on a plain background a small crop shows nothing")
    elif not facts.accelerated:
        found["global_scale"] = Choice([0.3, 1.0], "small views lose what small crops show")
    if not facts.colour:
        found["saturation"] = Choice(0.0, "grey images have no colours to change")
        found["hue"] = Choice(0.0)
        found["grayscale_p"] = Choice(0.0)
    return found


def backbone(facts: Facts) -> dict[str, Choice]:
    """What the hardware can bear."""
    size = view_size(facts).value
    if size <= SMALLEST_SIDE or (facts.figures and size <= CONVNET_UP_TO):
        return {"use": Choice("convnet", f"five layers are enough for {size} pixels"), "width": Choice(16)}
    if facts.accelerated:
        return {"use": Choice("resnet18", "what most published figures were obtained with")}
    return {"use": Choice("alexnet", "the fastest of the larger networks on a processor; with a GPU take resnet18")}


def batch_size(facts: Facts) -> Choice:
    """Several images of each class in a batch, and enough steps in an epoch."""
    smallest, largest = BATCH
    size = largest
    while size > smallest and facts.images < STEPS_PER_EPOCH * size:
        size //= 2
    if size > facts.images:
        return Choice(facts.images, "all images")
    why = "the most that is proposed" if size == largest else f"so that an epoch has {facts.images // size} steps"
    return Choice(size, why)


def epochs(facts: Facts) -> Choice:
    """As many as give the number of steps."""
    fewest, most = EPOCHS
    steps = max(1, facts.images // batch_size(facts).value)
    count = min(most, max(fewest, -(-STEPS[facts.accelerated] // steps)))
    return Choice(count, f"{count * steps} steps in all")


def class_count(facts: Facts) -> int:
    """As many as are known, else more than there often are, with enough images for each."""
    return facts.classes or max(2, min(UNKNOWN, facts.images // IMAGES_PER_CLASS))


def classifiers(facts: Facts) -> Choice:
    """Restarts for one number of classes."""
    count = class_count(facts)
    if facts.classes:
        why = f"{count} classes: as told, or as many as there are class folders"
    else:
        why = (
            f"how many classes there are is not known: {count} are sought, because classes that are too many can be "
            "named alike, but one that holds two things stays so. If you know better, run init with --classes N"
        )
    return Choice([count] * RESTARTS, f"{why}. {RESTARTS} restarts, of which the loss chooses one")


def styles(facts: Facts) -> Choice:
    """Several numbers of classes, up to five times as many as are sought."""
    most = max(2, facts.images // IMAGES_PER_CLASS)
    sizes = [min(most, times * class_count(facts)) for times in (3, 5)]
    why = "more classes than there are keep apart what looks different, so the backbone first learns to see"
    return Choice(sizes, why)


def learning_rate(facts: Facts) -> Choice:
    """By the backbone."""
    return Choice(2e-3 if backbone(facts)["use"].value == "convnet" else 5e-4)
