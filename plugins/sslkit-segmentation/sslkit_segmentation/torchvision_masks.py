"""torchvision data sets with masks (a class for every pixel), scaled to one size."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import Field
from torch import Tensor

import sslkit


class MaskedDataset(sslkit.TorchvisionDataset):
    """Base class for data sets with masks: fits RGB images and their masks to ``size`` x ``size`` pixels.

    Each image is cropped to its central square and resized (bicubic). Its mask is cropped in the same way, and resized
    with nearest-neighbour interpolation.
    """

    class Options(sslkit.TorchvisionDataset.Options):
        """Options for the location of the files and the size of the images."""

        size: int = Field(128, ge=32, le=1024)
        """Side of images and masks in pixels."""

    options: Options

    def load(self, split: str) -> sslkit.Split:
        source = self.open_split(split)
        side = self.options.size
        images = torch.empty(len(source), 3, side, side, dtype=torch.uint8)
        masks = torch.empty(len(source), side, side, dtype=torch.uint8)
        labels = []
        for index in range(len(source)):
            try:
                image, mask, label = self._image_mask_label(source[index])
                fitted = ImageOps.fit(image.convert("RGB"), (side, side), method=Image.Resampling.BICUBIC)
                fitted_mask = ImageOps.fit(mask, (side, side), method=Image.Resampling.NEAREST)
            except MemoryError:
                raise
            except Exception as error:  # decoders raise many types of errors for damaged files
                cause = " ".join(str(error).split()) or type(error).__name__
                raise sslkit.DataError(
                    f"image {index} of {self.torchvision_class}'s {split} split in {self.root} is damaged ({cause}). "
                    "Delete its files there; the next start downloads them again."
                ) from error
            images[index] = torch.from_numpy(np.array(fitted)).permute(2, 0, 1)
            masks[index] = self._pixel_classes(torch.from_numpy(np.array(fitted_mask)))
            labels.append(label)
        known = None if None in labels else torch.tensor(labels, dtype=torch.int64)
        return sslkit.Split(sslkit.TensorStore(images), known, masks=masks)

    @abstractmethod
    def _image_mask_label(self, item: Any) -> tuple[Image.Image, Image.Image, int | None]:
        """Return the image, the mask and the label (None without labels) of an item of the torchvision data set."""

    def _pixel_classes(self, mask: Tensor) -> Tensor:
        """Return the class of each pixel, uint8 ``[H, W]``, from the pixel values of a mask file."""
        return mask


class PascalVoc(MaskedDataset):
    """Pascal VOC 2012: 1 464 training and 1 449 test images. Pixels are background or one of 20 classes.

    Pixels at the borders of objects have no class. The split ``test`` contains the validation images of the challenge,
    because the masks of the challenge's test images are not public.
    """

    api = 2
    torchvision_class = "VOCSegmentation"

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

    def split_arguments(self, split: str) -> dict[str, Any]:
        return {"year": "2012", "image_set": "train" if split == "train" else "val"}

    def is_complete(self, source: Any) -> bool:
        return all(map(os.path.exists, (*source.images, *source.targets)))

    def _image_mask_label(self, item: Any) -> tuple[Image.Image, Image.Image, int | None]:
        image, mask = item
        return image, mask, None


class OxfordPets(MaskedDataset):
    """Oxford-IIIT Pet: 3 680 training and 3 669 test images of 37 breeds; each pixel is pet or background.

    Pixels at the border of a pet have no class, because the annotators assigned none.
    """

    api = 2
    torchvision_class = "OxfordIIITPet"

    @property
    def mask_names(self) -> tuple[str, ...]:
        return "background", "pet"

    def split_arguments(self, split: str) -> dict[str, Any]:
        return {
            "split": "trainval" if split == "train" else "test",
            "target_types": ["category", "segmentation"],
        }

    def is_complete(self, source: Any) -> bool:
        return all(map(os.path.exists, (*source._images, *source._segs)))

    def _image_mask_label(self, item: Any) -> tuple[Image.Image, Image.Image, int | None]:
        image, (category, mask) = item
        return image, mask, category

    def _pixel_classes(self, mask: Tensor) -> Tensor:
        ignored = sslkit.IGNORE_INDEX  # in the files, 1 is the pet, 2 is background, 3 is neither
        return torch.tensor([ignored, 1, 0, ignored], dtype=torch.uint8)[mask.long().clamp(max=3)]
