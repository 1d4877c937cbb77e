"""Run a trained network on image files; threads decode the next images while the network is computing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslkit.data.datasets.folder.scan import ImageFile
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.data.image_files import decode_image, read_in_threads
from sslkit.data.value_range import Scaling
from sslkit.errors import InputError
from sslkit.features.outliers import OutlierScorer
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork
from sslkit.views.preprocess import preprocess

BATCH_SIZE = 512
"""Number of files in one forward pass."""

CHUNK_SIZE = 4 * BATCH_SIZE
"""Number of files whose results are saved together. A killed process loses at most one chunk."""

Output = Literal["features", "logits"]


@dataclass(frozen=True)
class Chunk:
    """Results for up to ``CHUNK_SIZE`` files.

    Attributes:
        values: features ``[n, D]`` or logits ``[n, K]`` of the readable files, in order.
        scores: outlier scores ``[n]`` of these files; NaN if the run has no features of training images.
        broken: mapping from the path of each unreadable file to the reason.
    """

    values: Tensor
    scores: Tensor
    broken: dict[str, str]


def stored_image_size(run: Run) -> tuple[int, tuple[int, int]]:
    """Return the number of channels and the size ``(H, W)`` of the run's stored training images.

    New images are decoded to the same shape.

    Raises:
        InputError: the number of channels is neither 1 nor 3.
        RunError: the run's provenance cannot be read.
    """
    channels, height, width = read_provenance(run)["image_shape"]
    if channels not in (1, 3):
        raise InputError(
            f"{run.name} was trained on images of {channels} channels, but image files are read as grey (1) or RGB (3)"
        )
    return channels, (height, width)


def value_scaling(network: TrainedNetwork) -> Scaling:
    """Return how the run's data set scaled images with more than 8 bits. New images are scaled in the same way."""
    options = network.recipe.data.options
    return options.value_range if isinstance(options, ImageFolder.Options) else "dtype"


def compute_chunks(
    run: Run,
    network: TrainedNetwork,
    device: str,
    root: Path,
    files: Sequence[ImageFile],
    output: Output,
    scorer: OutlierScorer | None,
    on_progress: Callable[[int], None],
) -> Iterator[Chunk]:
    """Yield the features or logits of image files, in chunks of ``CHUNK_SIZE`` files.

    Images are decoded to the size of the run's training images and preprocessed as in evaluation. Memory use does not
    depend on the number of files.

    Args:
        run: the run.
        network: the network of the run, on the device.
        device: the device.
        root: folder of the files.
        files: the files.
        output: ``features`` or ``logits``.
        scorer: computes outlier scores, or None if the run has no features of training images.
        on_progress: called after each batch with the number of completed files.
    """
    channels, size = stored_image_size(run)
    metadata = network.metadata
    scaling = value_scaling(network)
    head = network.head if output == "logits" else None

    def decode(file: ImageFile) -> NDArray[np.uint8]:
        return decode_image(root / file.path, channels, size, scaling).pixels

    def forward(images: list[NDArray[np.uint8]]) -> Tensor:
        pixels = torch.from_numpy(np.stack(images)).to(device, non_blocking=True)
        with torch.no_grad():
            return network.backbone(preprocess(pixels, network.preprocessing)).float()

    decoded = read_in_threads(decode, files, ahead=2 * BATCH_SIZE)
    for start in range(0, len(files), CHUNK_SIZE):
        parts = [torch.empty(0, metadata["feature_dim"], device=device)]
        broken: dict[str, str] = {}
        for first in range(start, min(start + CHUNK_SIZE, len(files)), BATCH_SIZE):
            batch = files[first : first + BATCH_SIZE]
            images = []
            for file, result in zip(batch, decoded, strict=False):
                if isinstance(result, str):
                    broken[file.path] = result
                else:
                    images.append(result)
            if images:
                parts.append(forward(images))
            on_progress(first + len(batch))
        # Outside the loop over batches, because copies to the CPU wait for the device.
        features = torch.cat(parts)
        with torch.no_grad():
            values = features if head is None else head(features).logits[network.classifier].float()
        scores = torch.full((len(features),), torch.nan) if scorer is None else scorer.score(features)
        yield Chunk(values.cpu(), scores.cpu(), broken)
