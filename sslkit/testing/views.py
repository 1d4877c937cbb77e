"""What is promised of view policies."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sslkit.contracts.views import Parameters, Views, slice_parameters
from sslkit.testing.accelerator import accelerator
from sslkit.testing.base import ComponentTests, no_global_randomness, require


class ViewsTests(ComponentTests):
    """Subclass with ``component`` and, where needed, ``options``."""

    component: ClassVar[type[Views]]

    channels: ClassVar[int] = 3
    """Channels of the images."""

    def build(self) -> Views:
        """The policy."""
        mean, std = (0.5, 0.4, 0.6)[: self.channels], (0.2, 0.25, 0.3)[: self.channels]
        built: Views = self.make(self.make_context(channels=self.channels, mean=mean, std=std))
        return built

    def images(self) -> Tensor:
        """uint8 images."""
        generator = torch.Generator().manual_seed(0)
        shape = (6, self.channels, 32, 32)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.int64).to(torch.uint8)

    def draw(self, views: Views, seed: int = 0) -> Parameters:
        """Parameters for the images."""
        return views.draw(6, torch.Generator().manual_seed(seed))

    def test_views_are_as_announced(self) -> None:
        views = self.build()
        made = views.apply(self.images(), self.draw(views))
        found = [tuple(group.shape) for group in made]
        announced = [(group.count, 6, self.channels, group.size, group.size) for group in views.groups]
        require(found == announced, f"views are {found}, groups announces {announced}")
        for group in made:
            require(group.dtype == torch.float32, f"views must be float32, not {group.dtype}")
            require(bool(group.isfinite().all()), "views must be finite")

    def test_global_groups_come_first(self) -> None:
        order = [group.is_global for group in self.build().groups]
        require(any(order), "at least one group must be global")
        require(order == sorted(order, reverse=True), "global groups must come before local ones")

    def test_parameters_are_apart_for_each_image(self) -> None:
        views = self.build()
        for group, parameters in zip(views.groups, self.draw(views), strict=True):
            for name, value in parameters.items():
                right = tuple(value.shape[:2]) == (6, group.count)
                require(right, f"the parameter {name!r} is {tuple(value.shape)}, but must begin with [n, count]")

    def test_the_generator_decides_everything(self) -> None:
        views = self.build()
        first, again = (views.apply(self.images(), self.draw(views)) for _ in range(2))
        same = all(map(torch.equal, first, again))
        require(same, "the same generator and images must give the same views")

    def test_it_uses_no_global_randomness(self) -> None:
        views, images = self.build(), self.images()
        with no_global_randomness("a view policy"):
            views.apply(images, self.draw(views))

    def test_each_image_stands_alone(self) -> None:
        """So that a process can make the views of its part of the batch."""
        views = self.build()
        drawn = self.draw(views)
        whole, part = views.apply(self.images(), drawn), views.apply(self.images()[2:5], slice_parameters(drawn, 2, 5))
        for one, other in zip(whole, part, strict=True):
            close = torch.allclose(one[:, 2:5], other, atol=1e-5)
            require(close, "the views of an image must not depend on the other images of the batch")

    def test_it_leaves_images_as_they_were(self) -> None:
        views, images = self.build(), self.images()
        views.apply(images, self.draw(views))
        require(torch.equal(images, self.images()), "apply must not write into its images")

    def test_it_works_on_any_device_without_waiting_for_it(self) -> None:
        views, images = self.build(), self.images()
        drawn = self.draw(views)
        with accelerator() as (device, _):
            parameters = tuple({name: device.tensor(value) for name, value in group.items()} for group in drawn)
            for made in views.apply(device.tensor(images), parameters):
                require(made.device.type == "cuda", "views must be on the device of the images")
