"""Image files of all formats and modes are decoded to known pixels."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, PngImagePlugin

from sslkit.data import image_files
from sslkit.data.image_files import decode_image, read_image_size
from sslkit.data.unreadable_images import UnreadableImageError

GREY_OF_RED = 76  # 0.299 * 255


def first_pixel(path: Path, channels: int = 3, size: tuple[int, int] = (2, 2)) -> list[int]:
    """Return the channels of the first pixel."""
    result = decode_image(path, channels, size).pixels
    assert result.shape == (channels, *size)
    assert result.dtype == np.uint8
    return [int(value) for value in result[:, 0, 0]]


def image(mode: str, colour: object, size: tuple[int, int] = (2, 2)) -> Image.Image:
    return Image.new(mode, size, colour)


def palette(transparent: bool) -> tuple[Image.Image, dict[str, object]]:
    picture = image("P", 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    return picture, {"transparency": 1} if transparent else {}


def array(values: object, dtype: type) -> Image.Image:
    return Image.fromarray(np.full((2, 2), values, dtype=dtype))


KINDS = {
    "rgb.png": (image("RGB", (255, 0, 0)), {}, [255, 0, 0], [GREY_OF_RED]),
    "grey.png": (image("L", 77), {}, [77] * 3, [77]),
    "bilevel.png": (image("1", 1), {}, [255] * 3, [255]),
    "bilevel.pbm": (image("1", 0), {}, [0] * 3, [0]),
    "rgba-half.png": (image("RGBA", (255, 0, 0, 128)), {}, [255, 127, 127], [165]),
    "rgba-clear.webp": (image("RGBA", (255, 0, 0, 0)), {"lossless": True}, [255] * 3, [255]),
    "la-half.png": (image("LA", (0, 128)), {}, [127] * 3, [127]),
    "palette.png": (*palette(False), [255, 0, 0], [GREY_OF_RED]),
    "palette-clear.png": (*palette(True), [255] * 3, [255]),
    "palette.gif": (*palette(False), [255, 0, 0], [GREY_OF_RED]),
    "key-colour.png": (image("RGB", (9, 8, 7)), {"transparency": (9, 8, 7)}, [255] * 3, [255]),
    "cmyk.tif": (image("CMYK", (0, 255, 255, 0)), {}, [255, 0, 0], [GREY_OF_RED]),
    "ycbcr.tif": (image("YCbCr", (76, 85, 255)), {}, [254, 0, 0], [76]),
    "16-bit-top.png": (array(65535, np.uint16), {}, [255] * 3, [255]),
    "16-bit-middle.png": (array(257 * 100 + 128, np.uint16), {}, [100] * 3, [100]),
    "16-bit-rounds.tif": (array(257 * 100 + 129, np.uint16), {}, [101] * 3, [101]),
    "16-bit-big-endian.tif": (array(257 * 100, np.dtype(">u2")), {}, [100] * 3, [100]),
    "16-bit.pgm": (array(65535, np.uint16), {}, [255] * 3, [255]),
    "32-bit.tif": (array(257 * 100, np.int32), {}, [100] * 3, [100]),
    "float.tif": (array(0.5, np.float32), {}, [128] * 3, [128]),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_mode_becomes_rgb_and_grey(name: str, tmp_path: Path) -> None:
    picture, options, rgb, grey = KINDS[name]
    picture.save(tmp_path / name, **options)
    assert first_pixel(tmp_path / name, 3) == rgb
    assert first_pixel(tmp_path / name, 1) == grey


def test_a_cmyk_jpeg(tmp_path: Path) -> None:
    image("CMYK", (0, 255, 255, 0), (16, 16)).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(np.array(first_pixel(tmp_path / "a.jpg", size=(16, 16))) - [255, 0, 0]).max() <= 2


def test_lossless_pixels_are_unchanged_and_channels_come_first(tmp_path: Path) -> None:
    wanted = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for name in ("a.png", "a.bmp", "a.ppm", "a.webp", "a.tiff"):
        Image.fromarray(wanted).save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
        result = decode_image(tmp_path / name, 3, (5, 7))
        assert np.array_equal(result.pixels, wanted.transpose(2, 0, 1)), name
        assert result.conversions == ()
        assert not result.resized


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_exif_orientation_is_applied(orientation: int, name: str, tmp_path: Path) -> None:
    """Each stored orientation decodes to the same image: a dark top half with a light left corner."""
    upright = image("L", 255, (16, 32))
    upright.paste(0, (0, 0, 16, 16))
    upright.paste(128, (0, 0, 8, 8))
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation: the transposition of Pillow that it reverts
    stored = upright.transpose(inverse[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    assert read_image_size(tmp_path / name) == (32, 16)
    result = decode_image(tmp_path / name, 1, (32, 16))
    assert np.abs(result.pixels[0].astype(int) - np.asarray(upright)).max() <= 8
    assert ("EXIF orientation" in result.conversions) == (orientation > 1 and name != "a.tif")
    assert not result.resized


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_the_first_of_several_frames_is_used(name: str, tmp_path: Path) -> None:
    first, second = image("RGB", (255, 0, 0)), image("RGB", (0, 255, 0))
    options = {"lossless": True} if name == "a.webp" else {}
    first.save(tmp_path / name, save_all=True, append_images=[second], **options)
    assert first_pixel(tmp_path / name) == [255, 0, 0]
    assert decode_image(tmp_path / name, 3, (2, 2)).conversions[-1] == "first of several frames"


def test_an_image_of_another_size_is_scaled_and_cropped(tmp_path: Path) -> None:
    wide = image("L", 0, (40, 10))
    wide.paste(255, (15, 0, 25, 10))
    wide.save(tmp_path / "a.png")
    result = decode_image(tmp_path / "a.png", 1, (10, 10))
    assert result.resized
    assert (result.pixels == 255).all()
    assert decode_image(tmp_path / "a.png", 1, (20, 20)).pixels.shape == (1, 20, 20)


def test_a_large_jpeg_decoded_at_reduced_size_has_the_same_pixels(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(800), np.arange(1000)) * 255 / 1800
    big = Image.fromarray(ramp.astype(np.uint8))
    big.save(tmp_path / "a.jpg", quality=95)
    big.save(tmp_path / "a.png")
    reduced, full = (decode_image(tmp_path / name, 1, (64, 64)) for name in ("a.jpg", "a.png"))
    assert reduced.resized
    assert np.abs(reduced.pixels.astype(int) - full.pixels).max() <= 2


def truncate(path: Path, fraction: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.gif", "a.webp", "a.tif", "a.ppm"])
def test_truncated_files_are_broken(name: str, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    noise.save(tmp_path / name)
    truncate(tmp_path / name, 0.5)
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(tmp_path / name, 3, (40, 40))
    assert str(caught.value)


def test_reasons_of_broken_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(name: str) -> str:
        with pytest.raises(UnreadableImageError) as caught:
            decode_image(tmp_path / name, 3, (2, 2))
        return str(caught.value)

    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("this is no picture")
    (tmp_path / "postscript.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    array(1.5, np.float32).save(tmp_path / "bright.tif")
    array(float("nan"), np.float32).save(tmp_path / "nan.tif")
    array(-1, np.int32).save(tmp_path / "negative.tif")
    image("L", 0, (20, 20)).save(tmp_path / "bomb.png")
    for name, after in (("before.png", False), ("after.png", True)):
        text = PngImagePlugin.PngInfo()
        text.add(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(bytes(2**21)), after_idat=after)
        image("L", 0, (20, 20)).save(tmp_path / name, pnginfo=text)
    assert reason("empty.png") == "empty file"
    assert reason("text.jpg") == "not an image, or its header is damaged"
    assert reason("postscript.png").startswith("a PostScript drawing; JPEG, PNG, ")
    for name in ("before.png", "after.png"):
        assert reason(name) == "a PNG with more than 1 MiB of text or colour profile: save it without metadata"
    assert reason("gone.png") == "No such file or directory"
    assert reason("bright.tif") == "its values are 1.5 to 1.5, but without value_range they must be 0 to 1"
    assert reason("nan.tif") == "some of its values are NaN or infinite: replace them by numbers"
    assert reason("negative.tif") == "its values are -1 to -1, but without value_range they must be 0 to 65535"
    monkeypatch.setattr(image_files, "MAX_PIXELS", 399)
    assert reason("bomb.png") == "20x20 pixels, the limit is 399"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert reason("bomb.png") == "more than the limit of 399 pixels"


def test_the_size_of_a_png_is_read_without_decoding(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8))
    noise.save(tmp_path / "a.png")
    truncate(tmp_path / "a.png", 0.5)
    assert read_image_size(tmp_path / "a.png") == (40, 30)


def test_colour_becomes_grey_by_luma(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8))
    noise.save(tmp_path / "a.png")
    grey = Image.fromarray(decode_image(tmp_path / "a.png", 1, (4, 4)).pixels[0])
    assert not ImageChops.difference(grey, noise.convert("L")).getbbox()
