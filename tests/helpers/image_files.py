"""Write image files that Pillow cannot write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TYPES = {1: "B", 3: "H", 4: "I"}
"""Mapping from TIFF tag type to its ``struct`` format character."""


def write_png16(path: Path, pixels: NDArray[np.uint16]) -> None:
    """Write pixels ``[H, W, C]`` as a 16-bit PNG; 3 channels are RGB, 4 are RGBA, 2 are grey with transparency."""
    height, width, channels = pixels.shape
    colour = {2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_tiff(
    path: Path,
    pixels: NDArray[np.generic],
    *,
    photometric: int = 2,
    extra: tuple[int, ...] | None = None,
    sample_format: int = 1,
    planar: int = 1,
    compression: int = 1,
    orientation: int | None = None,
    xmp: bytes = b"",
) -> None:
    """Write pixels ``[H, W, C]`` as an uncompressed little-endian TIFF, even if the tags are different.

    Args:
        path: the file.
        pixels: the pixels.
        photometric: 1 is grey, 2 RGB, 5 CMYK.
        extra: meaning of the additional channels; None omits the tag.
        sample_format: 1 is unsigned, 2 signed, 3 float.
        planar: 1 for interleaved channels, 2 for separate planes.
        compression: value of the compression tag; 1 is uncompressed.
        orientation: value of the orientation tag; None omits the tag.
        xmp: XMP metadata.
    """
    height, width, channels = pixels.shape
    data = (pixels.transpose(2, 0, 1) if planar == 2 else pixels).tobytes()
    strips = channels if planar == 2 else 1
    tags: dict[int, tuple[int, tuple[int, ...]]] = {
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (8 * pixels.dtype.itemsize,) * channels),
        259: (3, (compression,)),
        262: (3, (photometric,)),
        273: (4, (0,) * strips),
        277: (3, (channels,)),
        278: (4, (height,)),
        279: (4, (len(data) // strips,) * strips),
        284: (3, (planar,)),
        339: (3, (sample_format,) * channels),
    }
    if extra is not None:
        tags[338] = (3, extra)
    if orientation is not None:
        tags[274] = (3, (orientation,))
    if xmp:
        tags[700] = (1, tuple(xmp))
    size = sum(len(values) * struct.calcsize(TYPES[kind]) + 4 for kind, values in tags.values())
    start = 8 + 2 + 12 * len(tags) + 4 + size  # larger than needed
    tags[273] = (4, tuple(start + index * len(data) // strips for index in range(strips)))
    entries, values_start, tail = b"", 8 + 2 + 12 * len(tags) + 4, b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}{TYPES[kind]}", *values)
        if len(packed) > 4:
            tail += b"\0" * (len(tail) % 2)
            entry, tail = struct.pack("<I", values_start + len(tail)), tail + packed
        else:
            entry = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, len(values)) + entry
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + tail
    path.write_bytes((b"II*\0" + struct.pack("<I", 8) + directory).ljust(start, b"\0") + data)
