"""Of view policies: each promise of the kit has a mutant that breaks it, and it alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import sslkit

MUTANTS: list[tuple[str, type]] = []
"""The promise that is broken, and what breaks it."""


def breaks(promise: str) -> Callable[[type], type]:
    def remember(mutant: type) -> type:
        MUTANTS.append((promise, mutant))
        return mutant

    return remember


class GoodViews(sslkit.Views):
    """Brighter and darker."""

    api = 1
    groups = (sslkit.ViewGroup(2, 32, True), sslkit.ViewGroup(1, 16, False))

    def draw(self, n: int, generator: torch.Generator) -> sslkit.Parameters:
        return tuple({"light": torch.rand(n, group.count, generator=generator)} for group in self.groups)

    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        pixels = images.float() / 255
        return tuple(
            pixels[:, :, : group.size, : group.size] * own["light"].T[:, :, None, None, None]
            for group, own in zip(self.groups, parameters, strict=True)
        )


@breaks("test_views_are_as_announced")
class ViewsInHalf(GoodViews):
    """Good otherwise."""

    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        return tuple(group.double() for group in super().apply(images, parameters))


@breaks("test_global_groups_come_first")
class ViewsWithLocalOnesFirst(GoodViews):
    """Good otherwise."""

    groups = GoodViews.groups[::-1]


@breaks("test_parameters_are_apart_for_each_image")
class ViewsWithSharedParameters(GoodViews):
    """Good otherwise."""

    def draw(self, n: int, generator: torch.Generator) -> sslkit.Parameters:
        drawn = super().draw(n, generator)
        return tuple({**own, "shift": torch.zeros(n)} for own in drawn)


@breaks("test_the_generator_decides_everything")
class ViewsThatCount(GoodViews):
    """Good otherwise."""

    drawn = 0

    def draw(self, n: int, generator: torch.Generator) -> sslkit.Parameters:
        self.drawn += 1
        return tuple({"light": own["light"] * self.drawn} for own in super().draw(n, generator))


@breaks("test_it_uses_no_global_randomness")
class ViewsThatDrawGlobally(GoodViews):
    """Good otherwise."""

    def draw(self, n: int, generator: torch.Generator) -> sslkit.Parameters:
        torch.rand(1)
        return super().draw(n, generator)


@breaks("test_each_image_stands_alone")
class ViewsThatCentreTheBatch(GoodViews):
    """Good otherwise."""

    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        return tuple(group - group.mean() for group in super().apply(images, parameters))


@breaks("test_it_leaves_images_as_they_were")
class ViewsThatWrite(GoodViews):
    """Good otherwise."""

    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        made = super().apply(images, parameters)
        images[:, :, 0, 0] = 0
        return made


@breaks("test_it_works_on_any_device_without_waiting_for_it")
class ViewsThatWait(GoodViews):
    """Good otherwise."""

    def apply(self, images: Tensor, parameters: sslkit.Parameters) -> tuple[Tensor, ...]:
        return super().apply(images if images.max() > 1 else images * 255, parameters)


def test_what_is_good_keeps_every_promise(broken) -> None:
    assert broken("view", GoodViews) == {}


@pytest.mark.parametrize(("promise", "mutant"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mutant_breaks_its_promise_and_no_other(promise: str, mutant: type, broken) -> None:
    found = broken("view", mutant)
    assert list(found) == [promise.removeprefix("test_").replace("_", " ")], found


def test_every_promise_has_a_mutant(promised) -> None:
    assert promised("view") <= {promise for promise, _ in MUTANTS}
