"""The data sets of torchvision that have a class for every pixel, brought to one size."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import Field
from torch import Tensor

from sslkit.contracts.dataset import IGNORE_INDEX, Split
from sslkit.data.datasets.torchvision import TorchvisionSource
from sslkit.data.store import TensorStore
from sslkit.errors import DataError


class MaskedDataset(TorchvisionSource):
    """RGB images and masks of ``size`` pixels: scaled to cover that, the middle cut out; masks by nearest neighbour."""

    class Options(TorchvisionSource.Options):
        """Where the files are, and how large the images become."""

        size: int = Field(128, ge=32, le=1024)
        """Side of images and masks in pixels."""

    options: Options

    def load(self, split: str) -> Split:
        source = self._source(split)
        side = self.options.size
        images = torch.empty(len(source), 3, side, side, dtype=torch.uint8)
        masks = torch.empty(len(source), side, side, dtype=torch.uint8)
        labels = []
        for place in range(len(source)):
            try:
                image, mask, label = self._item(source[place])
                fitted = ImageOps.fit(image.convert("RGB"), (side, side), method=Image.Resampling.BICUBIC)
                fitted_mask = ImageOps.fit(mask, (side, side), method=Image.Resampling.NEAREST)
            except MemoryError:
                raise
            except Exception as error:  # damaged files make decoders raise almost anything
                cause = " ".join(str(error).split()) or type(error).__name__
                raise DataError(
                    f"image {place} of {self.name}'s {split} split in {self.root} is damaged ({cause}). Delete its "
                    "files there; the next start downloads them again."
                ) from error
            images[place] = torch.from_numpy(np.array(fitted)).permute(2, 0, 1)
            masks[place] = self._classes(torch.from_numpy(np.array(fitted_mask)))
            labels.append(label)
        known = None if None in labels else torch.tensor(labels, dtype=torch.int64)
        return Split(TensorStore(images), known, masks=masks)

    @abstractmethod
    def _item(self, item: Any) -> tuple[Image.Image, Image.Image, int | None]:
        """Image, mask and, where there is one, class of what torchvision gives."""

    def _classes(self, mask: Tensor) -> Tensor:
        """Classes of pixels ``[H, W]`` of a mask's file."""
        return mask


class PascalVoc(MaskedDataset):
    """Pascal VOC 2012: 1 464 training and 1 449 test images in background and 20 classes; borders have no class.

    The test split is the challenge's validation images, since the labels of its test images are not public.
    """

    api = 1
    name = "VOCSegmentation"

    @property
    def class_names(self) -> tuple[str, ...]:
        return ()

    @property
    def mask_names(self) -> tuple[str, ...]:
        return (
            *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
            *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
            "tvmonitor",
        )

    def _arguments(self, split: str) -> dict[str, Any]:
        return {"year": "2012", "image_set": "train" if split == "train" else "val"}

    def _complete(self, source: Any) -> bool:
        return all(map(os.path.exists, (*source.images, *source.targets)))

    def _item(self, item: Any) -> tuple[Image.Image, Image.Image, int | None]:
        image, mask = item
        return image, mask, None


class OxfordPets(MaskedDataset):
    """Oxford-IIIT Pet: 3 680 training and 3 669 test images of 37 breeds, each pixel pet or background.

    Pixels that the annotators left open, around the pet, have no class.
    """

    api = 1
    name = "OxfordIIITPet"

    @property
    def mask_names(self) -> tuple[str, ...]:
        return "background", "pet"

    def _arguments(self, split: str) -> dict[str, Any]:
        return {
            "split": "trainval" if split == "train" else "test",
            "target_types": ["category", "segmentation"],
        }

    def _complete(self, source: Any) -> bool:
        return all(map(os.path.exists, (*source._images, *source._segs)))

    def _item(self, item: Any) -> tuple[Image.Image, Image.Image, int | None]:
        image, (category, mask) = item
        return image, mask, category

    def _classes(self, mask: Tensor) -> Tensor:
        """The files have 1 for the pet, 2 for background, 3 for neither."""
        return torch.tensor([IGNORE_INDEX, 1, 0, IGNORE_INDEX], dtype=torch.uint8)[mask.long().clamp(max=3)]
