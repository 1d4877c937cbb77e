"""Crop, flip and resize, compared with torchvision's ``resized_crop`` and ``resize``."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from sslkit.views.resize import Interpolation, central_square, crop_boxes, resize_shorter_side, resized_crop

# Both sum the same float32 weights in different orders; pixels are in [0, 1].
TOLERANCE = 2e-6


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def reference(
    image: Tensor, box: tuple[int, ...], flip: bool, size: int, interpolation: Interpolation, antialias: bool
) -> Tensor:
    mode = InterpolationMode(interpolation)
    view = tv.resized_crop(image, *box, size=[size, size], interpolation=mode, antialias=antialias)
    return tv.horizontal_flip(view) if flip else view


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_resized_crop_agrees_with_torchvision_antialiased(interpolation: Interpolation, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(5, 40)), data.draw(st.integers(5, 40))
    tall, wide = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    box = (data.draw(st.integers(0, height - tall)), data.draw(st.integers(0, width - wide)), tall, wide)
    flip, size = data.draw(st.booleans()), data.draw(st.integers(4, 40))
    image = noise(1, 3, height, width)
    (result,) = resized_crop(image, torch.tensor([[box]]).float(), torch.tensor([[float(flip)]]), size, interpolation)
    assert torch.allclose(result, reference(image, box, flip, size, interpolation, True), atol=TOLERANCE)


@pytest.mark.parametrize("box", [(0, 0, 32, 32), (3, 5, 20, 11), (0, 21, 32, 11), (31, 31, 1, 1)])
def test_enlarging_bilinear_needs_no_antialias(box: tuple[int, ...]) -> None:
    image = noise(1, 3, 32, 32)
    (result,) = resized_crop(image, torch.tensor([[box]]).float(), torch.zeros(1, 1), 32)
    assert torch.allclose(result, reference(image, box, False, 32, "bilinear", False), atol=TOLERANCE)


def test_whole_image_at_its_own_size_is_unchanged() -> None:
    images = noise(4, 3, 32, 32)
    flips = torch.tensor([[0.0, 1.0]]).expand(4, 2)
    unchanged, mirrored = resized_crop(images, central_square(flips, 32, 32), flips, 32)
    assert torch.equal(unchanged, images)
    assert torch.equal(mirrored, images.flip(-1))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [8, 18, 48])
def test_pixels_outside_the_box_have_no_influence(interpolation: Interpolation, size: int) -> None:
    image = noise(1, 1, 32, 32)
    other = torch.full_like(image, 1e6)
    other[..., 4:15, 9:30] = image[..., 4:15, 9:30]
    box, flip = torch.tensor([[[4.0, 9.0, 11.0, 21.0]]]), torch.zeros(1, 1)
    assert torch.equal(
        resized_crop(image, box, flip, size, interpolation), resized_crop(other, box, flip, size, interpolation)
    )


def test_every_view_of_every_image_has_its_own_box() -> None:
    images = noise(3, 3, 20, 30)
    boxes = torch.tensor(
        [[[0, 0, 20, 30], [2, 3, 9, 9]], [[5, 6, 7, 8], [0, 1, 4, 5]], [[1, 10, 12, 20], [6, 6, 6, 6]]]
    )
    flips = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    batch = resized_crop(images, boxes.float(), flips, 16)
    assert batch.shape == (2, 3, 3, 16, 16)
    for i in range(3):
        for view in range(2):
            single = resized_crop(
                images[i : i + 1], boxes[i : i + 1, view : view + 1].float(), flips[i : i + 1, view : view + 1], 16
            )
            assert torch.allclose(batch[view, i], single[0, 0], atol=1e-6)


def test_box_is_the_first_try_that_fits() -> None:
    area = torch.tensor([[1.0, 0.5, 0.25]])
    ratio = torch.tensor([[2.0, 0.5, 1.0]]).log()
    # Boxes of 45 x 23 pixels do not fit into 32 x 32 pixels; boxes of 16 x 32 do.
    box = crop_boxes(area, ratio, torch.tensor([[0.99, 0.99]]), 32, 32, (0.5, 2.0))
    assert box.tolist() == [[0, 16, 32, 16]]


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(32, 32, [0, 0, 32, 32]), (20, 90, [0, 30, 20, 30]), (90, 20, [30, 0, 30, 20])]
)
def test_the_central_box_is_used_if_no_try_fits(height: int, width: int, expected: list[int]) -> None:
    box = crop_boxes(torch.ones(1, 10) * 1.5, torch.zeros(1, 10), torch.zeros(1, 2), height, width, (2 / 3, 1.5))
    assert box.tolist() == [expected]


@settings(max_examples=50, deadline=None)
@given(st.integers(4, 300), st.integers(4, 300), st.integers(0, 1000))
def test_boxes_are_whole_pixels_inside_the_image(height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    area, ratio, position = (torch.rand(64, n, generator=generator) for n in (10, 10, 2))
    position[0] = 1 - 2**-24
    box = crop_boxes(area, (ratio - 0.5) * 2, position, height, width, (0.4, 2.7))
    top, left, tall, wide = box.unbind(-1)
    assert torch.equal(box, box.round())
    assert (torch.stack([top, left]) >= 0).all()
    assert (torch.stack([tall, wide]) >= 1).all()
    assert (top + tall <= height).all()
    assert (left + wide <= width).all()


@pytest.mark.parametrize(("height", "width", "size"), [(50, 37, 32), (20, 31, 32), (32, 48, 32)])
def test_resize_shorter_side_agrees_with_torchvision(height: int, width: int, size: int) -> None:
    images = noise(2, 3, height, width)
    expected = tv.resize(images, [size], antialias=True)
    result = resize_shorter_side(images, size)
    assert result.shape == expected.shape
    assert torch.allclose(result, expected, atol=TOLERANCE)
