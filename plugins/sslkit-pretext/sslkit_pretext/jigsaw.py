"""Jigsaw puzzles: predict the order of the shuffled tiles of an image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import sslkit
from sslkit_pretext.trial import try_backbone

CANDIDATES = 500
"""Number of random orders among which each order of the puzzle is chosen."""

EPS = 1e-5
"""Small variance added before tiles are divided by their standard deviation, because a tile may have one colour."""


class Jigsaw(sslkit.Method):
    """Classification of the order in which the tiles of a view are shuffled.

    Each view is cut into ``grid`` x ``grid`` cells. A tile is a random square within its cell, so that the edges of
    neighbouring tiles do not match. The backbone encodes each tile on its own. A network with two layers predicts from
    the features of all tiles, in shuffled order, which of ``orders`` fixed orders was used. Only views of the largest
    size are used.

    Source: Noroozi, Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", ECCV 2016,
    arXiv 1603.09246, sections 3 and 4.

    Raises:
        sslkit.InputError: the backbone cannot process images of the size of a tile.
        sslkit.OptionError: the tiles can be arranged in fewer than ``orders`` orders, or a view has fewer than ``grid``
            pixels along a side.
    """

    api = 2
    own_objective = True
    needs = frozenset({"images"})

    class Options(sslkit.Options):
        grid: int = Field(3, ge=2, le=5)
        """Number of cells along each side of a view."""

        tile_scale: float = Field(0.85, gt=0, le=1)
        """Side of a tile, as a fraction of the side of its cell; the paper's is 64 / 75."""

        normalise_tiles: bool = True
        """Normalise each tile to mean 0 and variance 1, so that its colours do not give away its position."""

        orders: int = Field(100, ge=2, le=10_000)
        """Number of different orders of the tiles. Each is chosen to differ from the others at many positions."""

        hidden_dim: int = Field(512, ge=1, le=100_000)
        """Width of the hidden layer that reads the features of all tiles."""

    def __init__(self, options: Options, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.context, self.grid = context, options.grid
        self.tiles = options.grid**2
        self.normalises = options.normalise_tiles
        self.cell = context.view_size // options.grid
        self.side = max(1, int(self.cell * options.tile_scale))
        if self.cell < 1:
            raise sslkit.OptionError("grid", f"views of {context.view_size} pixels cannot be cut into so many cells")
        try_backbone("jigsaw", self.backbone, self.backbone, context.channels, self.side)
        generator = sslkit.seeded_generator(context.seed, "methods")
        self.orders: Tensor
        self.register_buffer("orders", distinct_orders(self.tiles, options.orders, generator))
        self.classifier = nn.Sequential(
            nn.Linear(self.tiles * context.feature_dim, options.hidden_dim),
            nn.BatchNorm1d(options.hidden_dim),
            nn.ReLU(),
            nn.Linear(options.hidden_dim, options.orders),
        )

    def scheduled(self, step: int) -> Mapping[str, Tensor]:
        """Return the order of the tiles of each view, and the position of each tile in its cell.

        Returns:
            ``order``, int64 ``[B, V]``, index of one of the fixed orders, from 0 to ``orders`` - 1; ``offset``, int64
            ``[B, V, grid**2, 2]``, row and column of the tile in its cell, in pixels. V is the number of global views.
        """
        context = self.context
        generator = sslkit.seeded_generator(context.seed, "methods", context.steps_before + step, 1)
        shape = (context.batch_size, context.global_view_count)
        order = torch.randint(len(self.orders), shape, generator=generator)
        offset = torch.randint(self.cell - self.side + 1, (*shape, self.tiles, 2), generator=generator)
        return {"order": context.own_images(order), "offset": context.own_images(offset)}

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        """Return the cross-entropy, and log the accuracy, of the predicted orders."""
        views = batch.global_groups[0]
        count = len(views)
        order = batch.scheduled["order"][:, :count].T.flatten()
        offset = batch.scheduled["offset"][:, :count].transpose(0, 1).flatten(0, 1)
        tiles = cut_tiles(views.flatten(0, 1), offset, self.grid, self.side)
        tiles = normalise(tiles) if self.normalises else tiles
        features = self.backbone(tiles.flatten(0, 1)).unflatten(0, tiles.shape[:2])
        shuffled = features.gather(1, self.orders[order][..., None].expand_as(features))
        logits = self.classifier(shuffled.flatten(1)).float()
        accuracy = (logits.detach().argmax(1) == order).float().mean()
        return sslkit.MethodOutput(cross_entropy(logits, order), {"accuracy": accuracy})


def cut_tiles(images: Tensor, offset: Tensor, grid: int, side: int) -> Tensor:
    """Return the tiles of images, row by row.

    Args:
        images: tensor ``[N, C, S, S]``.
        offset: int64 tensor ``[N, grid**2, 2]``, row and column of each tile in its cell, in pixels.
        grid: number of cells along each side.
        side: side T of a tile in pixels.

    Returns:
        Tensor ``[N, grid**2, C, T, T]``.
    """
    cell, device = images.shape[-1] // grid, images.device
    number, pixels = torch.arange(grid**2, device=device), torch.arange(side, device=device)
    rows = ((number // grid) * cell + offset[..., 0])[..., None] + pixels  # [N, grid**2, T]
    columns = ((number % grid) * cell + offset[..., 1])[..., None] + pixels
    image = torch.arange(len(images), device=device)[:, None, None, None]
    return images.movedim(1, -1)[image, rows[..., None], columns[..., None, :]].movedim(-1, 2)


def normalise(tiles: Tensor) -> Tensor:
    """Normalise each of the tiles ``[N, grid**2, C, T, T]`` to mean 0 and variance 1."""
    variance, mean = torch.var_mean(tiles, (2, 3, 4), correction=0, keepdim=True)
    return (tiles - mean) * (variance + EPS).rsqrt()


def distinct_orders(tiles: int, count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` orders of ``tiles`` tiles, int64 ``[count, tiles]``, that differ at many positions.

    The first order is random. Each further order is one of ``CANDIDATES`` random orders: the one with the largest
    distance to the nearest earlier order. The distance is the number of positions that differ.

    Raises:
        sslkit.OptionError: there are fewer than ``count`` different orders.
    """
    chosen = [torch.randperm(tiles, generator=generator)]
    while len(chosen) < count:
        candidates = torch.rand(CANDIDATES, tiles, generator=generator).argsort(1)
        distance = (candidates[:, None] != torch.stack(chosen)).sum(2).amin(1)
        if not distance.any():
            raise sslkit.OptionError("orders", f"{tiles} tiles have too few different orders for {count}")
        chosen.append(candidates[distance.argmax()])
    return torch.stack(chosen)
