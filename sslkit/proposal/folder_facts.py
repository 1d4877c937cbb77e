"""Facts about a folder of images that determine the proposed recipe."""

from __future__ import annotations

from dataclasses import dataclass

from sslkit.data.datasets.folder.labels import LabelMode
from sslkit.data.datasets.folder.survey import FolderSurvey
from sslkit.data.value_range import Extent


@dataclass(frozen=True)
class FolderFacts:
    """Facts about a folder of images that the rules use.

    Attributes:
        images: number of readable training images.
        side: median shorter side in pixels.
        one_size: whether all images have the same size.
        colour: whether more than 1 % of the images show colour.
        background: grey level of the plain background that nearly all images share, or None if there is none.
        classes: number of classes; 0 if unknown.
        broken: share of unreadable files, in [0, 1].
        has_gpu: whether a GPU is available.
        square: whether all images are square.
        extents: value ranges of the images with more than 8 bits.
        labels: the option ``labels`` of the data set.
        hold_out: fraction of each class to hold out as test images.
    """

    images: int
    side: int
    one_size: bool
    colour: bool
    background: int | None
    classes: int
    broken: float
    has_gpu: bool
    square: bool = True
    extents: tuple[Extent, ...] = ()
    labels: LabelMode = "auto"
    hold_out: float = 0

    @classmethod
    def from_survey(
        cls,
        survey: FolderSurvey,
        *,
        has_gpu: bool,
        classes: int = 0,
        labels: LabelMode = "auto",
        hold_out: float = 0,
    ) -> FolderFacts:
        """Return the facts of a surveyed folder.

        Args:
            survey: the survey.
            has_gpu: whether a GPU is available.
            classes: number of classes. 0 means the number of class folders, which may also be 0.
            labels: the option ``labels`` that the survey used.
            hold_out: fraction of each class that was held out.
        """
        return cls(
            images=survey.images,
            side=survey.shorter_sides[1],
            one_size=len(survey.sizes) == 1,
            colour=survey.colour_share > 0.01,
            background=survey.background_level,
            classes=classes or len(survey.labels.class_names),
            broken=survey.broken_share,
            has_gpu=has_gpu,
            square=all(height == width for height, width in survey.sizes),
            extents=survey.extents,
            labels=labels,
            hold_out=hold_out,
        )

    @property
    def shows_symbols(self) -> bool:
        """Whether the images show grey shapes on a plain background, such as digits, letters or silhouettes."""
        return not self.colour and self.background is not None
