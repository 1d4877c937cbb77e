"""A frozen backbone, whose features are computed once for each set of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.data.store import SubsetStore
from sslkit.device.hardware import device_name
from sslkit.features.cache import cache_key, load_or_compute
from sslkit.features.extraction import device_of, extract_features


class FrozenBackbone:
    """Frozen backbone that computes the features of each set of images only once.

    Features are stored in memory and in the feature cache on disk, which all runs and evaluations share.

    Args:
        backbone: the backbone, on its device.
        preprocessing: preparation of unaugmented images.
        identity: versions and options, as JSON values, on which features depend in addition to the weights.
        on_progress: called during an extraction with the number of processed images and the number of all images.

    Attributes:
        notes: sentences for the user about damaged or unwritable cache entries.
    """

    def __init__(
        self,
        backbone: Backbone,
        preprocessing: Preprocessing,
        identity: Mapping[str, Any],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.backbone = backbone
        self.preprocessing = preprocessing
        self.identity = identity
        self.on_progress = on_progress
        self.notes: list[str] = []
        self._known: dict[int, tuple[ImageStore, Tensor]] = {}

    def features(self, images: ImageStore) -> Tensor:
        """Return the features of unaugmented images, float32 ``[N, D]`` on the CPU."""
        if isinstance(images, SubsetStore):
            return self.features(images.images)[images.indices]
        if id(images) not in self._known:
            self._known[id(images)] = images, self.cached(images, {}, lambda: self._extract(images))
        return self._known[id(images)][1]

    def forget(self) -> None:
        """Remove all features from memory; they stay in the cache on disk."""
        self._known.clear()

    def cached(self, images: ImageStore, settings: Mapping[str, Any], compute: Callable[[], Tensor]) -> Tensor:
        """Return a tensor that depends on the backbone, the images and settings, from the cache if possible.

        Args:
            images: the images.
            settings: everything else that the tensor depends on, as JSON values.
            compute: function that computes the tensor.
        """
        depends_on = {
            "preprocessing": asdict(self.preprocessing),
            "identity": dict(self.identity),
            "device": device_name(device_of(self.backbone).type),
            **settings,
        }
        key = cache_key([self.backbone], images, depends_on)
        return load_or_compute(key, lambda: {"features": compute()}, self.notes)["features"]

    def _extract(self, images: ImageStore) -> Tensor:
        return extract_features(self.backbone, images, self.preprocessing, on_progress=self.on_progress)
