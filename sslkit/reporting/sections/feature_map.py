"""Map of the features: images as points in two dimensions, coloured by class, label, confidence or split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.reporting.charts import scatter_chart
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.escape import escape_controls
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.sections.classes import MAX_CLASSES
from sslkit.reporting.thumbnails import data_uri, sprite_sheet, thumbnails

MAX_POINTS = 1500
"""Largest number of images on the map, without those of the training sample. Of more, a random sample is shown."""

SPRITE_SIDE = 96
"""Largest side, in pixels, of an image that the map shows next to a point."""

SMALLEST_SIDE = 32
"""Smallest side, in pixels, of an image that the map shows next to a point."""

QUALITY = 60
"""WebP quality of the sheet."""


@dataclass(frozen=True)
class _Part:
    """Images of one split on the map: the split, and the indices of the images in it."""

    encoded: EncodedSplit
    indices: Tensor


def project(features: Tensor, others: Sequence[Tensor] = ()) -> tuple[list[Tensor], float]:
    """Project L2-normalised features onto the first two principal components of ``features``.

    Args:
        features: ``[N, D]``.
        others: further features ``[M, D]``, which are projected onto the same components.

    Returns:
        Points ``[N, 2]``, and points ``[M, 2]`` of each of ``others``; and the share of the variance of ``features``
        that these components explain, in [0, 1].
    """
    from sklearn.decomposition import PCA

    points = [normalize(each, dim=1).numpy() for each in (features, *others)]
    if min(points[0].shape) < 2:
        return [torch.zeros(len(each), 2) for each in points], 0.0
    fitted = PCA(2, svd_solver="covariance_eigh").fit(points[0])
    projected = [torch.from_numpy(fitted.transform(each)).float() for each in points]
    return projected, float(fitted.explained_variance_ratio_.sum())


def feature_map(
    encoded: EncodedSplit, names: Mapping[int, str], figures: FigureWriter, sheet_bytes: int
) -> dict[str, Any]:
    """Return the template variables of the map: a description, and the data that the page's script draws.

    Args:
        encoded: the images.
        names: name of each named class, keyed by number.
        figures: saves the map as a file.
        sheet_bytes: largest size in bytes of the sprite sheet with the images of all points. The images are reduced to
            fit, but not below ``SMALLEST_SIDE``.
    """
    parts = [_Part(encoded, encoded.sample(MAX_POINTS))]
    if encoded.training_sample is not None:
        sample = encoded.training_sample
        parts.append(_Part(sample, torch.arange(len(sample.features))))
    projected, explained = project(encoded.features, [part.encoded.features for part in parts[1:]])
    points = torch.cat([each[part.indices] for each, part in zip(projected, parts, strict=True)])
    colours = _colours(parts, names)
    if figures.folder is not None:
        groups = next((colour["values"] for colour in colours if colour["kind"] == "groups"), None)
        labels = {} if len(names) > MAX_CLASSES else {number: name or str(number) for number, name in names.items()}
        figures.chart("map", "Map of the features", "", scatter_chart(points.numpy(), groups, labels))
    sheet, columns, side = _sheet(parts, sheet_bytes)
    shown, total = len(parts[0].indices), len(encoded.features)
    sampled = (
        f"{shown} of {total} {encoded.name} images, drawn at random"
        if shown < total
        else f"{total} {encoded.name} images"
    )
    trained = f", and {len(parts[1].indices)} training images" if len(parts) > 1 else ""
    caption = (
        f"{sampled}{trained}, at the first two principal components of the L2-normalised features of {encoded.name} "
        f"images. These components explain {100 * explained:.0f} % of the variance: images that are far apart here "
        "differ, but images that are close together need not be similar."
    )
    texts = [part.encoded.describe(index) for part in parts for index in part.indices.tolist()]
    return {
        "description": f"Map of the features. {caption}",
        "caption": caption,
        "sheet": sheet,
        "colours": [(colour["name"], colour["title"]) for colour in colours],
        "data": {"points": _fractions(points), "texts": texts, "columns": columns, "side": side, "colours": colours},
    }


def _fractions(points: Tensor) -> list[list[float]]:
    """Return points as fractions of the map's width and height, from the top left, with equal scales on both axes."""
    low, high = points.min(0).values, points.max(0).values
    span = float((high - low).max()) or 1.0
    scaled = 0.5 + (points - (low + high) / 2) / span
    return [[round(x, 4), round(1 - y, 4)] for x, y in scaled.tolist()]


def _colours(parts: Sequence[_Part], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return the ways to colour the points: by class, label, confidence or split.

    Each way is a dict. Its entry ``values`` has a number for each point: its class, label or split, or its confidence.
    Its entry ``names`` has a pair (number, text) for each class, label or split; it is missing for the confidence.
    """
    first = parts[0].encoded
    colours: list[dict[str, Any]] = []
    if first.classes is not None:
        values = [number for part in parts for number in _of(part, part.encoded.classes, "assigned")]
        numbers = sorted(set(values))
        texts = {number: f"{number} {names[number]}" if names.get(number) else str(number) for number in numbers}
        texts |= {-1: "outlier", -2: "ignored"}
        colours.append(_groups("class", "class", values, {number: texts[number] for number in numbers}))
    if first.split.labels is not None:
        values = [label for part in parts for label in _labels(part)]
        texts = {number: first.class_names[number] if number >= 0 else "no label" for number in sorted(set(values))}
        colours.append(_groups("label", "label", values, texts))
    if first.classes is not None:
        confidence = [round(value, 3) for part in parts for value in _of(part, part.encoded.classes, "confidence")]
        colours.append({"name": "confidence", "title": "confidence", "kind": "scale", "values": confidence})
    if len(parts) > 1:
        values = [number for number, part in enumerate(parts) for _ in part.indices]
        texts = {number: part.encoded.name for number, part in enumerate(parts)}
        colours.append(_groups("split", "split", values, texts))
    return colours


def _labels(part: _Part) -> list[int]:
    labels = part.encoded.split.labels
    return [-1] * len(part.indices) if labels is None else labels[part.indices].tolist()


def _of(part: _Part, classes: Any, name: str) -> list[Any]:
    values: list[Any] = getattr(classes, name)[part.indices].tolist()
    return values


def _groups(name: str, title: str, values: list[int], names: Mapping[int, str]) -> dict[str, Any]:
    texts = [[number, escape_controls(text)] for number, text in names.items()]
    return {"name": name, "title": title, "kind": "groups", "values": values, "names": texts}


def _sheet(parts: Sequence[_Part], limit: int) -> tuple[str, int, int]:
    """Return a sprite sheet of the images of all points, its number of columns, and the side of an image in pixels.

    The sheet is a ``data:`` URI of at most ``limit`` characters, unless images of ``SMALLEST_SIDE`` pixels need more.
    """
    images = [image for part in parts for image in _images(part)]
    side = min(SPRITE_SIDE, max(max(image.size) for image in images))
    while True:
        sheet, columns = sprite_sheet(images, side)
        uri = data_uri(sheet, QUALITY)
        if len(uri) <= limit or side <= SMALLEST_SIDE:
            return uri, columns, side
        side = max(SMALLEST_SIDE, int(side * 0.8))


def _images(part: _Part) -> list[Image.Image]:
    """Return the images of a part of the map: the shown split, or the sample of training images.

    If the images in the data set are smaller than ``SPRITE_SIDE``, the images are loaded from their files where
    possible. Otherwise they come from the data set, because reading files is slow.
    """
    store = part.encoded.split.images
    if max(store.shape[1:]) < SPRITE_SIDE and part.encoded.root is not None:
        return [part.encoded.originals.load(index, SPRITE_SIDE) for index in part.indices.tolist()]
    return thumbnails(store, part.indices, SPRITE_SIDE)
