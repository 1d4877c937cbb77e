"""Conformance tests for view policies."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import ClassVar

import torch
from torch import Tensor

from sslkit.contracts.views import Parameters, Views, slice_parameters
from sslkit.testing.base import ComponentTests, no_global_randomness, require
from sslkit.testing.fake_device import fake_device


class ViewsTests(ComponentTests):
    """Conformance tests for a view policy. In a subclass, set ``component`` and, if needed, ``options``.

    Attributes:
        channels: int, number of channels of the test images.
    """

    component: ClassVar[type[Views]]
    draws_weights = False
    channels: ClassVar[int] = 3

    def build(self) -> Views:
        """Build the view policy."""
        mean, std = (0.5, 0.4, 0.6)[: self.channels], (0.2, 0.25, 0.3)[: self.channels]
        views: Views = self.make(self.make_context(channels=self.channels, mean=mean, std=std))
        return views

    def images(self) -> Tensor:
        """Return six random uint8 images."""
        generator = torch.Generator().manual_seed(0)
        shape = (6, self.channels, 32, 32)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.int64).to(torch.uint8)

    def draw(self, views: Views, seed: int = 0) -> Parameters:
        """Return random parameters for the six test images."""
        drawn = views.draw(6, torch.Generator().manual_seed(seed))
        valid = isinstance(drawn, (tuple, list)) and all(isinstance(group, Mapping) for group in drawn)
        require(valid, f"draw must return a tuple with a dict for each group, not of type {type(drawn).__name__}")
        return drawn

    def test_views_have_the_announced_shapes(self) -> None:
        views = self.build()
        tensors = views.apply(self.images(), self.draw(views))
        found = type(tensors).__name__
        valid = isinstance(tensors, (tuple, list))
        require(valid, f"apply must return a tuple with a tensor for each group, not of type {found}")
        shapes = [tuple(tensor.shape) for tensor in tensors]
        announced = [(group.count, 6, self.channels, group.size, group.size) for group in views.groups]
        require(shapes == announced, f"views have shapes {shapes}, but groups announces {announced}")
        for tensor in tensors:
            require(tensor.dtype == torch.float32, f"views must be float32, not {tensor.dtype}")
            require(bool(tensor.isfinite().all()), "views must be finite")

    def test_global_groups_come_first(self) -> None:
        order = [group.is_global for group in self.build().groups]
        require(any(order), "at least one group must be global")
        require(order == sorted(order, reverse=True), "global groups must come before local ones")

    def test_parameters_have_one_row_per_image(self) -> None:
        views = self.build()
        for group, parameters in zip(views.groups, self.draw(views), strict=True):
            for name, value in parameters.items():
                valid = tuple(value.shape[:2]) == (6, group.count)
                require(valid, f"the parameter {name!r} has shape {tuple(value.shape)}; it must be [n, count, ...]")

    def test_same_generator_gives_the_same_views(self) -> None:
        views = self.build()
        first, again = (views.apply(self.images(), self.draw(views)) for _ in range(2))
        same = all(map(torch.equal, first, again))
        require(same, "equal generators and images must give equal views")

    def test_global_random_state_is_not_used(self) -> None:
        views, images = self.build(), self.images()
        with no_global_randomness("the view policy"):
            views.apply(images, self.draw(views))

    def test_views_do_not_depend_on_other_images(self) -> None:
        """Check that an image has the same views in any batch, because each process computes only part of the batch."""
        views = self.build()
        drawn = self.draw(views)
        full, part = views.apply(self.images(), drawn), views.apply(self.images()[2:5], slice_parameters(drawn, 2, 5))
        for one, other in zip(full, part, strict=True):
            close = torch.allclose(one[:, 2:5], other, atol=1e-5)
            require(close, "the views of an image must not depend on the other images of the batch")

    def test_input_images_are_not_modified(self) -> None:
        views, images = self.build(), self.images()
        views.apply(images, self.draw(views))
        require(torch.equal(images, self.images()), "apply must not modify its input images")

    def test_parameters_are_not_modified(self) -> None:
        views = self.build()
        drawn = self.draw(views)
        before = deepcopy(drawn)
        views.apply(self.images(), drawn)
        for own, expected in zip(drawn, before, strict=True):
            changed = [name for name in expected if not torch.equal(own[name], expected[name])]
            require(not changed, f"apply must not modify the parameters {', '.join(changed)}")

    def test_works_on_any_device_without_a_device_sync(self) -> None:
        views, images = self.build(), self.images()
        drawn = self.draw(views)
        with fake_device() as (device, _):
            parameters = tuple({name: device.tensor(value) for name, value in group.items()} for group in drawn)
            for tensor in views.apply(device.tensor(images), parameters):
                require(tensor.device.type == "cuda", "views must be on the device of the images")
