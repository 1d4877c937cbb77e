"""Of backbones: each promise of the kit has a mutant that breaks it, and it alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sslkit

MUTANTS: list[tuple[str, type]] = []
"""The promise that is broken, and what breaks it."""


def breaks(promise: str) -> Callable[[type], type]:
    def remember(mutant: type) -> type:
        MUTANTS.append((promise, mutant))
        return mutant

    return remember


class GoodBackbone(sslkit.Backbone):
    """Two convolutions."""

    api = 1

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.feature_dim = 8
        self.first = nn.Sequential(nn.Conv2d(context.channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU())
        self.second = nn.Conv2d(4, 8, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.feature_maps(images)[2].mean((2, 3))
        return features

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        first = self.first(images)
        return {1: first, 2: self.second(first)}


class GoodDropout(GoodBackbone):
    """A backbone that draws in training."""

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(super().forward(images))
        return dropped


class GoodNetwork(nn.Module):
    """The network of a library that has the same layers, and a classifier."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU())
        self.second = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.last = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.last(self.second(self.first(images)).mean((2, 3)))
        return result


class GoodCounterparts(GoodBackbone):
    """A backbone that another library has too, and a third has not."""

    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        own = sslkit.Counterpart(f"{__name__}.GoodNetwork", self.state_dict(), {"channels": 3}, classifier="last")
        return {"own": own, "other": "it has no such network"}


@breaks("test_features_are_as_announced")
class BackboneOfAnotherWidth(GoodBackbone):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.feature_dim = 9


@breaks("test_feature_maps_have_their_strides")
class BackboneThatRoundsDown(GoodBackbone):
    """Good otherwise."""

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        maps = super().feature_maps(images)
        return {1: maps[1], 2: maps[2][:, :, : images.shape[2] // 2, : images.shape[3] // 2]}


@breaks("test_gradients_are_finite_and_reach_every_parameter")
class BackboneWithAnIdleLayer(GoodBackbone):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.idle = nn.Linear(2, 2)


@breaks("test_the_memory_order_of_images_does_not_matter")
class BackboneThatViews(GoodBackbone):
    """Good otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.feature_maps(images)[2]
        return maps.view(len(maps), -1).view(len(maps), 8, -1).mean(2)


@breaks("test_the_memory_order_of_images_does_not_matter")
class BackboneThatReadsMemory(GoodBackbone):
    """Good otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return features if images.is_contiguous() else 1.1 * features


@breaks("test_it_trains_in_bfloat16")
class BackboneThatMixesTypes(GoodBackbone):
    """Good otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        same = torch.eye(8, dtype=features.dtype, device=features.device)
        return torch.zeros_like(features, dtype=torch.float32).addmm_(features, same)


@breaks("test_it_leaves_images_as_they_were")
class BackboneThatWrites(GoodBackbone):
    """Good otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        if not torch.is_grad_enabled():
            images[:, :, 0, 0] += 1
        return features


@breaks("test_in_eval_mode_each_image_stands_alone")
class BackboneThatCentresTheBatch(GoodBackbone):
    """Good otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return features - features.mean(0)


@breaks("test_it_uses_no_global_randomness")
class BackboneWithNoise(GoodBackbone):
    """Good otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        random.random()
        return super().forward(images)


@breaks("test_its_state_is_in_its_state_dict")
class BackboneWithAHiddenTensor(GoodBackbone):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.register_buffer("scale", torch.rand(8), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale


@breaks("test_its_counterparts_give_the_same_features")
class BackboneWithAnotherCounterpart(GoodBackbone):
    """Good otherwise."""

    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        state = {name: value + (value.is_floating_point() * 0.01) for name, value in self.state_dict().items()}
        return {"own": sslkit.Counterpart(f"{__name__}.GoodNetwork", state, {"channels": 3}, classifier="last")}


@breaks("test_it_works_on_any_device_without_waiting_for_it")
class BackboneWithATensorOnTheHost(GoodBackbone):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.scale = torch.ones(8)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale


@breaks("test_it_works_on_any_device_without_waiting_for_it")
class BackboneThatWaitsInTraining(GoodBackbone):
    """Good otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return features * bool(features.detach().isfinite().all()) if self.training else features


def test_what_is_good_keeps_every_promise(broken) -> None:
    assert broken("backbone", GoodBackbone) == {}
    assert broken("backbone", GoodCounterparts) == {}
    assert broken("backbone", GoodDropout) == {}


@pytest.mark.parametrize(("promise", "mutant"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mutant_breaks_its_promise_and_no_other(promise: str, mutant: type, broken) -> None:
    found = broken("backbone", mutant)
    assert list(found) == [promise.removeprefix("test_").replace("_", " ")], found


def test_every_promise_has_a_mutant(promised) -> None:
    assert promised("backbone") <= {promise for promise, _ in MUTANTS}
