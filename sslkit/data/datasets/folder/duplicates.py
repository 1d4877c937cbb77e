"""Pictures that are there more than once: files with the same bytes, and images that look the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence

import numpy as np
from numpy.typing import NDArray

from sslkit.data.datasets.folder.content import digest
from sslkit.data.datasets.folder.scan import Tree
from sslkit.data.datasets.folder.threads import in_order

ALIKE = 0.995
"""Correlation of thumbnails from which two images count as the same picture, saved again or scaled.  Of CIFAR-10's
images and of handwritten digits, where different pictures look most alike, one in a thousand has such a twin."""

BLOCKS = 4
"""Along each side, blocks of a thumbnail by whose levels twins are looked for."""

NEIGHBOURS = 8
"""Nearest thumbnails that are compared with each."""

Groups = tuple[tuple[str, ...], ...]


def copies(tree: Tree, broken: Container[str] = ()) -> Groups:
    """Paths of files with the same bytes, a group for each content, without those that are known to be broken.

    Only files of equal size are read.
    """
    by_size: dict[int, list[str]] = defaultdict(list)
    for file in tree.all_files:
        if file.path not in broken:
            by_size[file.stamp[0]].append(file.path)
    suspects = [path for size, paths in by_size.items() if size > 0 and len(paths) > 1 for path in paths]
    by_content: dict[str, list[str]] = defaultdict(list)
    for path, name in zip(suspects, in_order(lambda path: digest(tree.root / path), suspects), strict=True):
        by_content[name].append(path)
    return tuple(tuple(paths) for name, paths in by_content.items() if len(paths) > 1 and ":" not in name)


def look_alikes(paths: Sequence[str], thumbnails: NDArray[np.uint8], known: Groups) -> Groups:
    """Paths of images that look the same but are no copies, a group for each picture.

    Twins are looked for among what is near in coarse blocks, and compared in all pixels.
    Thumbnails of one plain colour look like any other of them, and are left out.

    Args:
        paths: of the images.
        thumbnails: uint8 ``[N, C, H, W]``, one for each path.
        known: copies, of which the first stands for all.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    redundant = {path for group in known for path in group[1:]}
    plain = thumbnails.std(axis=(2, 3)).max(axis=1) < 1
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1)
    kept = [place for place, path in enumerate(paths) if not plain[place] and path not in redundant]
    if len(kept) < 2:
        return ()
    unit = flat[kept] / lengths[kept, None]
    # Orthonormal, so that nothing is further apart in sums over blocks than it is in pixels.
    channels, height, width = thumbnails.shape[1:]
    blocks = unit.reshape(-1, channels, BLOCKS, height // BLOCKS, BLOCKS, width // BLOCKS).sum(axis=(1, 3, 5))
    projected = blocks.reshape(len(kept), -1) / (flat.shape[1] / BLOCKS**2) ** 0.5
    near = (2 * (1 - ALIKE)) ** 0.5
    found = cKDTree(projected).query(projected, k=min(NEIGHBOURS, len(kept)), distance_upper_bound=near * 1.001)[1]
    one, other = np.repeat(np.arange(len(kept)), found.shape[1]), found.ravel()
    pairs = np.stack([one, other])[:, (other < len(kept)) & (one != other)]
    alike = np.einsum("nd,nd->n", unit[pairs[0]], unit[pairs[1]]) >= ALIKE
    size = (len(kept), len(kept))
    _, group = connected_components(coo_array((alike[alike], pairs[:, alike]), shape=size), directed=False)
    groups: dict[int, list[str]] = defaultdict(list)
    for place, number in zip(kept, group.tolist(), strict=True):
        groups[number].append(paths[place])
    return tuple(sorted(tuple(sorted(paths)) for paths in groups.values() if len(paths) > 1))


def across(groups: Groups, tree: Tree) -> int:
    """How many groups hold a training image and one that is evaluated on."""
    split = {file.path: name for name, files in tree.files.items() for file in files}
    return sum({split[path] for path in group} > {"train"} for group in groups)
