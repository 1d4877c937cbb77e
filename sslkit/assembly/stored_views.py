"""Features of all views for a frozen backbone, computed once for all training images."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.views import Views, move_parameters, slice_parameters
from sslkit.data.seeds import seeded_generator
from sslkit.device.transfer import to_device
from sslkit.features.extraction import device_of, eval_mode, images_at_a_time
from sslkit.features.frozen import FrozenBackbone
from sslkit.features.row_buffer import RowBuffer
from sslkit.recipe.recipe import ComponentSpec

DRAWN_AT_A_TIME = 128
"""Number of images whose random parameters are drawn from one seed. Views depend on this number."""


class FeatureStore:
    """Features of the views of all training images.

    Args:
        rows: float32 tensor ``[N, V, D]``, on any device.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, index: Tensor) -> Tensor:
        """Return features ``[B, V, D]`` for int64 indices ``[B]``, on the device of the store."""
        return self.rows.index_select(0, index.to(self.rows.device, non_blocking=True))


def store_views(frozen: FrozenBackbone, images: ImageStore, views: Views, spec: ComponentSpec, seed: int) -> Tensor:
    """Return the features of all views of all images, from the feature cache if possible.

    Args:
        frozen: the backbone.
        images: the training images.
        views: the view policy. The V views of each image are drawn once and used in every epoch.
        spec: the view policy in the recipe; its version and options are part of the cache key.
        seed: the run's seed.

    Returns:
        float32 tensor ``[N, V, D]`` on the CPU.
    """
    if not views.augments:
        return frozen.features(images)[:, None]
    settings = {"views": spec.identity, "seed": seed}
    return frozen.cached(images, settings, lambda: _extract(frozen, images, views, seed))


def _extract(frozen: FrozenBackbone, images: ImageStore, views: Views, seed: int) -> Tensor:
    rows, device = RowBuffer(len(images)), device_of(frozen.backbone)
    with eval_mode(frozen.backbone):
        for block in torch.arange(len(images)).split(DRAWN_AT_A_TIME):
            drawn = views.draw(len(block), seeded_generator(seed, "stored views", int(block[0])))
            for part in torch.arange(len(block)).split(images_at_a_time(views.size)):
                parameters = slice_parameters(drawn, int(part[0]), int(part[-1]) + 1)
                groups = views.apply(to_device(images.gather(block[part]), device), move_parameters(parameters, device))
                features = [frozen.backbone(group.flatten(0, 1)).unflatten(0, group.shape[:2]) for group in groups]
                rows.add(torch.cat(features).transpose(0, 1).float())
            if frozen.on_progress is not None:
                frozen.on_progress(rows.added, len(images))
    return rows.finish()
