"""Scenes of scikit-learn's digits with a class for every pixel: a data set for segmentation that needs no download."""

from __future__ import annotations

from pydantic import Field

from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.options import Options as BaseOptions
from sslkit.data.datasets.digits import Digits
from sslkit.data.datasets.scenes import compose
from sslkit.data.seeds import generator
from sslkit.data.store import TensorStore
from sslkit.errors import DataError


class DigitScenes(Dataset):
    """Images ``[channels, side, side]`` of digits on textured backgrounds, with masks of background and ten digits.

    Scenes of ``train`` are composed of the train digits, those of ``test`` of the held-out ones.
    """

    api = 1

    class Options(BaseOptions):
        """How many scenes, and what they look like."""

        train: int = Field(default=600, ge=8, le=1_000_000)
        """Scenes to train on."""
        test: int = Field(default=300, ge=1, le=1_000_000)
        """Scenes to test on."""
        side: int = Field(default=48, ge=32, le=1024)
        """Side of a scene in pixels."""
        most_digits: int = Field(default=3, ge=1, le=1000)
        """Most digits of a scene."""
        channels: int = Field(default=1, ge=1, le=16)
        """1 for grey scenes; with more, backgrounds differ between channels."""
        seed: int = Field(default=0, ge=0, lt=2**63)
        """Seed of everything drawn."""

    options: Options

    @property
    def splits(self) -> tuple[str, ...]:
        return "train", "test"

    @property
    def mask_names(self) -> tuple[str, ...]:
        return "background", *"0123456789"

    def load(self, split: str) -> Split:
        if split not in self.splits:
            raise DataError(f"digit-scenes has no split {split!r}; it has train and test.")
        own = self.options
        images, masks = compose(
            Digits(Digits.Options(size=16)).load(split),
            own.train if split == "train" else own.test,
            own.side,
            own.channels,
            own.most_digits,
            generator(own.seed, "evaluation", self.splits.index(split)),
        )
        return Split(TensorStore(images), masks=masks)
