"""Mutants of view policies: every conformance test fails for a component that violates it."""

from __future__ import annotations

from typing import Any

import torch
from mutants import Mutants, MutantTests
from torch import Tensor

import sslkit

MUTANTS = Mutants()


class ValidViews(sslkit.Views):
    """Valid view policy with random brightness."""

    api = 2
    groups = (sslkit.ViewGroup(2, 32, True), sslkit.ViewGroup(1, 16, False))

    def draw(self, n: int, generator: torch.Generator) -> sslkit.Parameters:
        return tuple({"light": torch.rand(n, group.count, generator=generator)} for group in self.groups)

    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        pixels = images.float() / 255
        return tuple(
            pixels[:, :, : group.size, : group.size] * own["light"].T[:, :, None, None, None]
            for group, own in zip(self.groups, parameters, strict=True)
        )


@MUTANTS.fails("test_views_have_the_announced_shapes")
class ViewsInFloat64(ValidViews):
    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        return tuple(group.double() for group in super().apply(images, parameters))


@MUTANTS.fails("test_global_groups_come_first")
class ViewsWithLocalGroupsFirst(ValidViews):
    groups = ValidViews.groups[::-1]


@MUTANTS.fails("test_parameters_have_one_row_per_image")
class ViewsWithSharedParameters(ValidViews):
    def draw(self, n: int, generator: torch.Generator) -> sslkit.Parameters:
        drawn = super().draw(n, generator)
        return tuple({**own, "shift": torch.zeros(n)} for own in drawn)


@MUTANTS.fails("test_same_generator_gives_the_same_views")
class ViewsThatDependOnEarlierCalls(ValidViews):
    drawn = 0

    def draw(self, n: int, generator: torch.Generator) -> sslkit.Parameters:
        self.drawn += 1
        return tuple({"light": own["light"] * self.drawn} for own in super().draw(n, generator))


@MUTANTS.fails("test_global_random_state_is_not_used")
class ViewsThatUseGlobalRandomness(ValidViews):
    def draw(self, n: int, generator: torch.Generator) -> sslkit.Parameters:
        torch.rand(1)
        return super().draw(n, generator)


@MUTANTS.fails("test_views_do_not_depend_on_other_images")
class ViewsThatCentreTheBatch(ValidViews):
    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        return tuple(group - group.mean() for group in super().apply(images, parameters))


@MUTANTS.fails("test_input_images_are_not_modified")
class ViewsThatModifyImages(ValidViews):
    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        views = super().apply(images, parameters)
        images[:, :, 0, 0] = 0
        return views


@MUTANTS.fails("test_works_on_any_device_without_a_device_sync")
class ViewsThatSync(ValidViews):
    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        return super().apply(images if images.max() > 1 else images * 255, parameters)


@MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")
class ViewsThatDrawInTheirConstructor(ValidViews):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.shift = torch.rand(1)


@MUTANTS.fails("test_parameters_are_not_modified")
class ViewsThatModifyParameters(ValidViews):
    def draw(self, n: int, generator: torch.Generator) -> sslkit.Parameters:
        return tuple({**own, "uses": torch.zeros_like(own["light"])} for own in super().draw(n, generator))

    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        for own in parameters:
            own["uses"].add_(1)
        return super().apply(images, parameters)


class TestMutants(MutantTests):
    kind = "view"
    valid = (ValidViews,)
    mutants = MUTANTS
