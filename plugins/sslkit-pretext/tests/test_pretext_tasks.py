"""Targets of the pretext tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sslkit
from sslkit.testing import MethodTests
from sslkit_pretext.colourisation import Colourisation
from sslkit_pretext.jigsaw import Jigsaw, cut_tiles, distinct_orders, normalise
from sslkit_pretext.lab import cell_of, rgb_to_lab, visible_bins
from sslkit_pretext.rotation import Rotation


def build(component: type[sslkit.Method], backbone: sslkit.Backbone | None = None, **facts: Any) -> sslkit.Method:
    """Build a method with a small backbone."""
    kit = type("Kit", (MethodTests,), {"component": component, "options": {"orders": 3} if component is Jigsaw else {}})
    return kit().build(backbone=backbone, **facts)


class Corner(sslkit.Backbone):
    """Backbone whose feature is the position of the brightest corner, as a one-hot vector ``[B, 12]``."""

    api = 2
    feature_dim = 12

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: Tensor) -> Tensor:
        corners = images[:, 0, :: images.shape[2] - 1, :: images.shape[3] - 1].flatten(1)
        return self.scale * nn.functional.one_hot(corners.argmax(1), 12).float()

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        raise NotImplementedError


def batch(views: Tensor) -> sslkit.Batch:
    """Return a batch with one group of global views."""
    return sslkit.Batch((views,), len(views), torch.arange(views.shape[1]), 0, 0)


def test_rotation_predicts_the_number_of_quarter_turns() -> None:
    method = build(Rotation, Corner())
    views = torch.zeros(2, 8, 3, 32, 32)
    views[..., 0, 0] = 1  # turned counter-clockwise, the bright corner is bottom left, bottom right, then top right
    weight = torch.zeros(4, 12)
    for turns, corner in enumerate((0, 2, 3, 1)):
        weight[turns, corner] = 50
    method.classifier.weight.data.copy_(weight)
    method.classifier.bias.data.zero_()
    output = method(batch(views))
    assert output.terms["accuracy"] == 1
    assert output.loss < 1e-6


def test_tiles_are_cut_at_their_offset_and_normalised() -> None:
    image = torch.arange(2 * 6 * 6, dtype=torch.float64).view(1, 2, 6, 6)
    offset = torch.tensor([[[0, 1], [1, 0], [0, 0], [1, 1]]])
    tiles = normalise(cut_tiles(image, offset, grid=2, side=2))
    places = [(0, 1), (1, 3), (3, 0), (4, 4)]  # row and column of the cell, plus the offset
    expected = torch.stack([image[0, :, row : row + 2, column : column + 2] for row, column in places])
    centred = expected - expected.mean((1, 2, 3), keepdim=True)
    deviation = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
    torch.testing.assert_close(tiles[0], centred / deviation, rtol=1e-4, atol=0)


def test_jigsaw_reads_the_features_in_the_drawn_order() -> None:
    method = build(Jigsaw)
    seen: list[Tensor] = []
    method.classifier[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    example = batch(torch.randn(2, 8, 3, 32, 32))
    drawn = {name: torch.as_tensor(value) for name, value in method.all_scheduled(0).items()}
    for order in (0, 2):
        method(replace(example, scheduled=drawn | {"order": torch.full((8, 2), order)}))
    first, other = (own.view(16, 9, 12) for own in seen)
    orders = method.orders
    unshuffled = [own[:, orders[order].argsort()] for own, order in ((first, 0), (other, 2))]
    torch.testing.assert_close(*unshuffled)
    assert not torch.allclose(first, other)


def test_each_step_and_view_has_its_own_order_and_positions() -> None:
    method = build(Jigsaw)
    one, same, other = (method.scheduled(step) for step in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["order"], other["order"])
    assert one["order"].unique().tolist() == [0, 1, 2]
    assert one["offset"].unique().tolist() == [0, 1, 2]  # cells of 10 pixels, tiles of 8


def test_orders_differ_at_many_positions() -> None:
    orders = distinct_orders(9, 30, torch.Generator().manual_seed(0))
    assert (orders.sort(1)[0] == torch.arange(9)).all()
    distance = (orders[:, None] != orders).sum(2)
    assert distance.fill_diagonal_(9).min() >= 7
    with pytest.raises(sslkit.OptionError, match="too few different orders for 25"):
        distinct_orders(4, 25, torch.Generator().manual_seed(0))


def test_jigsaw_refuses_a_backbone_for_larger_images() -> None:
    with pytest.raises(sslkit.InputError, match="images of 5 x 5 pixels"):
        build(Jigsaw, view_size=20)  # the convolution of the small backbone has 8 x 8 pixels


def test_lab_of_known_colours() -> None:
    rgb = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5]], dtype=torch.float64)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [53.39, 0, 0]]
    lab = rgb_to_lab(rgb[..., None, None]).flatten(1)
    torch.testing.assert_close(lab, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=0.02)


def test_every_bin_has_a_visible_bin() -> None:
    bins = visible_bins()
    assert 250 < len(bins.unique()) < 330  # 313 in the paper, whose bins are centred on multiples of 10
    assert bins.unique().tolist() == list(range(int(bins.max()) + 1))


def test_colourisation_reads_grey_and_predicts_colour() -> None:
    method = build(Colourisation)
    mean, std = (torch.tensor(own)[:, None, None] for own in (method_context().mean, method_context().std))
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])
    rgb = colours.repeat(4, 1)[..., None, None].expand(8, 3, 32, 32)
    seen: list[Tensor] = []
    method.backbone.layers.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    method.classifier.weight.data.zero_()
    method.classifier.bias.data.zero_()
    target = method.bins[cell_of(rgb_to_lab(rgb[:2, :, :1, :1])).flatten()]
    method.classifier.bias.data.view(-1, 4)[target[0]] = 30  # always predict red
    output = method(batch(((rgb - mean) / std)[None]))
    assert output.terms["accuracy"] == 0.5
    grey = seen[0] * std + mean
    assert torch.allclose(grey[0, :, 0, 0], torch.full((3,), (colours[0] * torch.tensor([0.299, 0.587, 0.114])).sum()))
    assert method.shares[target].tolist() == pytest.approx([0.99 / len(method.shares) + 0.005] * 2)


def method_context() -> sslkit.Context:
    """Return the context of the tested methods."""
    return type("Kit", (MethodTests,), {"component": Rotation})().make_context()


def test_colourisation_refuses_grey_images() -> None:
    with pytest.raises(sslkit.InputError, match="needs RGB images, but these have 1 channels"):
        build(Colourisation, channels=1)
