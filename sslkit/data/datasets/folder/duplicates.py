"""Duplicate images of a folder: files with the same bytes, and images that look the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sslkit.data.datasets.folder.content_hash import file_hash
from sslkit.data.datasets.folder.duplicate_groups import DuplicateGroups, group_by_digest
from sslkit.data.datasets.folder.scan import FolderScan
from sslkit.data.threads import map_in_threads

MIN_CORRELATION = 0.995
"""Thumbnails with at least this correlation are near duplicates. In CIFAR-10 and in handwritten digits, one image in a
thousand has such a near duplicate."""

BLOCKS = 4
"""Number of blocks along each side of a thumbnail. The sums over blocks give the candidates for near duplicates."""

NEIGHBOURS = 8
"""Number of nearest thumbnails that are compared with each thumbnail."""


def exact_duplicates(scan: FolderScan) -> DuplicateGroups:
    """Return groups of paths with identical bytes.

    Only files that have the same size as another file are read.
    """
    by_size: dict[int, list[str]] = defaultdict(list)
    for file in scan.all_files:
        by_size[file.stamp[0]].append(file.path)
    candidates = [path for size, paths in by_size.items() if size > 0 and len(paths) > 1 for path in paths]
    return group_by_digest(candidates, map_in_threads(lambda path: file_hash(scan.root / path), candidates))


def near_duplicates(paths: Sequence[str], thumbnails: NDArray[np.uint8], exact: DuplicateGroups) -> DuplicateGroups:
    """Return groups of paths whose images look the same but differ in bytes.

    Candidates are thumbnails with similar sums over coarse blocks. All pixels of the candidates are then compared.
    Thumbnails of a single colour are left out, because all such thumbnails look the same.

    Args:
        paths: path of each image.
        thumbnails: uint8 ``[N, C, H, W]``, one for each path.
        exact: groups of identical files. Only the first path of each group is compared.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    redundant = {path for group in exact for path in group[1:]}
    plain = thumbnails.std(axis=(2, 3)).max(axis=1) < 1
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1)
    compared = [index for index, path in enumerate(paths) if not plain[index] and path not in redundant]
    if len(compared) < 2:
        return ()
    unit = flat[compared] / lengths[compared, None]
    # Sums over blocks, scaled to be orthonormal. Their distances never exceed the distances between pixels.
    channels, height, width = thumbnails.shape[1:]
    blocks = unit.reshape(-1, channels, BLOCKS, height // BLOCKS, BLOCKS, width // BLOCKS).sum(axis=(1, 3, 5))
    projected = blocks.reshape(len(compared), -1) / (flat.shape[1] / BLOCKS**2) ** 0.5
    radius = (2 * (1 - MIN_CORRELATION)) ** 0.5 * 1.001
    neighbours = cKDTree(projected).query(projected, k=min(NEIGHBOURS, len(compared)), distance_upper_bound=radius)[1]
    one, other = np.repeat(np.arange(len(compared)), neighbours.shape[1]), neighbours.ravel()
    pairs = np.stack([one, other])[:, (other < len(compared)) & (one != other)]
    alike = np.einsum("nd,nd->n", unit[pairs[0]], unit[pairs[1]]) >= MIN_CORRELATION
    size = (len(compared), len(compared))
    _, group = connected_components(coo_array((alike[alike], pairs[:, alike]), shape=size), directed=False)
    groups: dict[int, list[str]] = defaultdict(list)
    for index, number in zip(compared, group.tolist(), strict=True):
        groups[number].append(paths[index])
    return tuple(sorted(tuple(sorted(members)) for members in groups.values() if len(members) > 1))
