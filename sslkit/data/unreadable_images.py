"""Reasons why a file is not a readable image, for messages."""

from __future__ import annotations

import re
from contextlib import suppress
from io import BufferedReader
from typing import Any

from PIL import Image, TiffImagePlugin

READABLE = "JPEG, PNG, WebP, BMP, GIF, TIFF and PPM can be read"

READABLE_TIFFS = "TIFFs can be read with 1 to 16 bits in grey, 8 or 16 in RGB, CMYK or YCbCr, and 32 in grey"

UNREADABLE_EXTENSIONS = {
    extension: kind
    for kind, extensions in {
        "HEIC": ".heic .heif",
        "AVIF": ".avif",
        "camera raw": ".dng .cr2 .cr3 .nef .arw .orf .raf .rw2",
        "JPEG 2000": ".jp2 .j2k .jpx",
        "JPEG XL": ".jxl",
        "SVG": ".svg",
        "Photoshop": ".psd",
        "OpenEXR": ".exr",
        "Targa": ".tga",
        "DICOM": ".dcm",
        "FITS": ".fits",
        "Radiance HDR": ".hdr",
        "PFM": ".pfm",
    }.items()
    for extension in extensions.split()
}
"""Format of images that sslkit cannot read, keyed by extension."""

_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "Canon raw"}
_BRANDS |= dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "HEIC")

_SIGNATURES = (
    (rb"8BPS", "a Photoshop image"),
    (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image"),
    (rb"II\xbc\x01", "a JPEG XR image"),
    (rb"v/1\x01", "an OpenEXR image"),
    (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR image"),
    (rb"FUJIFILMCCD-RAW|IIR[OS]|IIU\0|[IM]{2}[*\0]{2}....CR\x02", "a camera raw image"),
    (rb".{128}DICM", "a DICOM file"),
    (rb"SIMPLE  =", "a FITS file"),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"\x89HDF", "an HDF5 file"),
    (rb"DDS ", "a DDS texture"),
    (rb"qoif", "a QOI image"),
    (rb"gimp xcf", "a GIMP image"),
    (rb"\0\0\x01\0", "an icon"),
    (rb"P7\n", "a PAM image"),
    (rb"%PDF", "a PDF document"),
    (rb"%!PS", "a PostScript drawing"),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml.*?)?(<!--.*?-->|<!DOCTYPE svg.*?>|\s)*<svg", "an SVG drawing"),
    (rb"(\xef\xbb\xbf)?\s*(<!--.*?-->|\s)*<(!doctype html|html|head)", "a web page"),
    (rb"version https://git-lfs", "a Git LFS pointer (`git lfs pull` fetches the image)"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"RIFF....AVI |....ftyp(isom|mp4|qt  |M4V)", "a video"),
)

_COLOURS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab"}
_COLOURS |= {32803: "camera raw", 34892: "camera raw"}
_NUMBERS = {1: "unsigned", 2: "signed", 3: "float", 5: "complex", 6: "complex"}


class UnreadableImageError(Exception):
    """A file is not a readable image. The message is the reason."""


def describe_unreadable(file: BufferedReader) -> str:
    """Return a description of a file that Pillow does not recognise as an image in a readable format."""
    file.seek(0)
    start = file.read(1024)
    if start[4:8] == b"ftyp" and (brand := _BRANDS.get(start[8:12])):
        return _of_kind(f"an image in {brand} format")
    for pattern, name in _SIGNATURES:
        if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
            return _of_kind(name)
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and (text := _describe_tiff(file)):
        return f"{text}; {READABLE_TIFFS}"
    if start[:2] == b"\xff\xd8" and (text := _describe_jpeg(file)):
        return text
    return "not an image, or its header is damaged"


def _of_kind(name: str) -> str:
    return f"{name}; {READABLE}"


def _describe_tiff(file: BufferedReader) -> str:
    tags: dict[int, Any] = {}
    with suppress(Exception):  # a damaged header raises many types
        file.seek(0)
        header = file.read(16)
        directory = TiffImagePlugin.ImageFileDirectory_v2(header[:8] if header[2:4] in (b"*\0", b"\0*") else header)
        file.seek(directory.next)
        directory.load(file)
        tags = dict(directory)
    if TiffImagePlugin.IMAGEWIDTH not in tags:
        return ""
    bits = "/".join(map(str, dict.fromkeys(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))))
    channels = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    colour = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0)
    numbers = _NUMBERS.get(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0], "unknown")
    compression = tags.get(TiffImagePlugin.COMPRESSION, 1)
    packed = "" if compression in TiffImagePlugin.COMPRESSION_INFO else f", compression {compression}"
    colours = _COLOURS.get(colour, f"colour space {colour}")
    return f"a TIFF of {channels} channels of {bits}-bit {numbers} numbers ({colours}{packed})"


def _describe_jpeg(file: BufferedReader) -> str:
    try:
        file.seek(0)
        Image.OPEN["JPEG"][0](file, "")
    except SyntaxError as error:
        if match := re.fullmatch(r"cannot handle (.*)", str(error)):
            return f"a JPEG with {match[1]}; JPEGs can be read with 1, 3 or 4 channels of 8 bits"
    except Exception:
        return ""
    return ""
