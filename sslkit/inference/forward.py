"""What a run's network makes of image files: decoded by threads, while the network works on those before."""

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
from sslkit.data.datasets.folder.threads import in_order
from sslkit.data.images import UnreadableImageError, decode
from sslkit.errors import InputError
from sslkit.runs.records import read_provenance
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork
from sslkit.views.preprocess import prepare

BATCH = 512
"""Files that pass through the network together."""

CHUNK = 4 * BATCH
"""Files whose results are kept together: what is lost at most when the process is killed."""

Output = Literal["features", "logits"]


@dataclass(frozen=True)
class Chunk:
    """What became of ``CHUNK`` files, or of the last ones.

    Attributes:
        values: ``[n, D]`` features or ``[n, K]`` logits of those that gave an image, in the order of the files.
        broken: the reason for each file that gave none, by path.
    """

    values: Tensor
    broken: dict[str, str]


def stored_size(run: Run) -> tuple[int, tuple[int, int]]:
    """Channels and ``(H, W)`` that the run's images were stored in: new ones are decoded to the same.

    Raises:
        InputError: image files are not read as so many channels.
        RunError: the run's record cannot be read.
    """
    channels, height, width = read_provenance(run)["image_shape"]
    if channels not in (1, 3):
        raise InputError(
            f"{run.name} was trained on images of {channels} channels, but image files are read as grey (1) or RGB (3)"
        )
    return channels, (height, width)


def chunks(
    run: Run,
    network: TrainedNetwork,
    device: str,
    root: Path,
    files: Sequence[ImageFile],
    output: Output,
    progress: Callable[[int], None],
) -> Iterator[Chunk]:
    """Results of files, chunk by chunk.

    Images are decoded as those that the run was trained on (their stored size, channels), then prepared as in
    evaluation.  Memory does not grow with the number of files.

    Args:
        run: the run.
        network: its network, on the device.
        device: where it computes.
        root: the files' folder.
        files: the files.
        output: what is wanted.
        progress: told after each batch how many files are done.
    """
    channels, size = stored_size(run)
    given = network.metadata
    mean, std = tuple(given["mean"]), tuple(given["std"])
    head = network.head if output == "logits" else None

    def attempt(file: ImageFile) -> NDArray[np.uint8] | str:
        try:
            return decode(root / file.path, channels, size).pixels
        except UnreadableImageError as error:
            return str(error)

    def forward(images: list[NDArray[np.uint8]]) -> Tensor:
        pixels = torch.from_numpy(np.stack(images)).to(device, non_blocking=True)
        with torch.no_grad():
            features: Tensor = network.backbone(prepare(pixels, given["image_size"], mean, std)).float()
            return features if head is None else head(features).logits[network.classifier].float()

    width = network.classes if output == "logits" else given["feature_dim"]
    results = in_order(attempt, files, ahead=2 * BATCH)
    for start in range(0, len(files), CHUNK):
        parts = [torch.empty(0, width, device=device)]
        broken: dict[str, str] = {}
        for first in range(start, min(start + CHUNK, len(files)), BATCH):
            batch = files[first : first + BATCH]
            images = []
            for file, result in zip(batch, results, strict=False):
                if isinstance(result, str):
                    broken[file.path] = result
                else:
                    images.append(result)
            if images:
                parts.append(forward(images))
            progress(first + len(batch))
        # The only time that the device is waited for.
        yield Chunk(torch.cat(parts).cpu(), broken)
