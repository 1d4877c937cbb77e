"""Mutants of positives: every conformance test fails for a component that violates it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import torch
from mutants import Mutants, MutantTests
from torch import Tensor

import sslkit

MUTANTS = Mutants()

CALLS = count(1)


class ValidPositives(sslkit.Positives):
    """Two of the five images with the largest dot product."""

    api = 2
    needs_features = True
    count = 2

    def prepare(self, features: Tensor) -> dict[str, Any]:
        if len(features) < 5:
            raise sslkit.InputError("five images are needed")
        return {"nearest": (features @ features.T).topk(5).indices}

    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(5, (len(index), self.count), generator=generator)
        return prepared["nearest"][index].gather(1, chosen)


class ValidPositivesWithoutFeatures(sslkit.Positives):
    """The next image in the training set."""

    api = 2
    count = 1

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.images = context.training_images

    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        return ((index + 1) % self.images)[:, None]


@MUTANTS.fails("test_count_is_declared")
class PositivesWithACountOfFloats(ValidPositivesWithoutFeatures):
    count = 1.0  # type: ignore[assignment]


@MUTANTS.fails("test_positives_are_indices_of_training_images")
class PositivesOfAnotherCount(ValidPositives):
    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        return super().draw(prepared, index, generator)[:, :1]


@MUTANTS.fails("test_positives_are_indices_of_training_images")
class PositivesOfInt32(ValidPositives):
    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        return super().draw(prepared, index, generator).int()


@MUTANTS.fails("test_positives_are_indices_of_training_images")
class PositivesBeforeTheFirstImage(ValidPositives):
    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        return super().draw(prepared, index, generator) - 1


@MUTANTS.fails("test_prepared_values_are_tensors_on_the_cpu")
class PositivesWithAPreparedList(ValidPositives):
    def prepare(self, features: Tensor) -> dict[str, Any]:
        return super().prepare(features) | {"names": ["a"]}


@MUTANTS.fails("test_prepare_gives_equal_values_for_equal_features")
class PositivesWithARandomPreparation(ValidPositives):
    def prepare(self, features: Tensor) -> dict[str, Any]:
        return super().prepare(features) | {"seed": torch.tensor(next(CALLS))}


@MUTANTS.fails("test_same_generator_gives_the_same_positives")
class PositivesThatCountTheirDraws(ValidPositives):
    draws = 0

    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        self.draws += 1
        return super().draw(prepared, index, generator).roll(self.draws, 0)


@MUTANTS.fails("test_draws_depend_on_the_prepared_values_only")
class PositivesThatKeepTheirPreparation(ValidPositives):
    def prepare(self, features: Tensor) -> dict[str, Any]:
        self.nearest = super().prepare(features)
        return {}

    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        return super().draw(self.nearest, index, generator)


@MUTANTS.fails("test_draws_depend_on_the_prepared_values_only")
class PositivesThatForgetTheirPreparation(ValidPositives):
    shift = 0

    def prepare(self, features: Tensor) -> dict[str, Any]:
        self.shift = 1
        return super().prepare(features)

    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        return super().draw(prepared, index, generator).roll(self.shift, 0)


@MUTANTS.fails("test_global_random_state_is_not_used")
class PositivesThatUseGlobalRandomness(ValidPositives):
    def prepare(self, features: Tensor) -> dict[str, Any]:
        torch.rand(1)
        return super().prepare(features)


@MUTANTS.fails("test_inputs_are_not_modified")
class PositivesThatNormaliseTheFeatures(ValidPositives):
    def prepare(self, features: Tensor) -> dict[str, Any]:
        features /= features.norm(dim=1, keepdim=True)
        return super().prepare(features)


@MUTANTS.fails("test_inputs_are_not_modified")
class PositivesThatCountInPlace(ValidPositives):
    def prepare(self, features: Tensor) -> dict[str, Any]:
        return super().prepare(features) | {"draws": torch.zeros(1)}

    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        prepared["draws"].add_(1)
        return super().draw(prepared, index, generator)


@MUTANTS.fails("test_few_images_work_or_are_refused")
class PositivesThatNeedManyImages(ValidPositives):
    def prepare(self, features: Tensor) -> dict[str, Any]:
        return {"nearest": (features @ features.T).topk(5).indices}


@MUTANTS.fails("test_few_images_work_or_are_refused")
class PositivesOfImagesThatAreNotThere(ValidPositives):
    def prepare(self, features: Tensor) -> dict[str, Any]:
        if len(features) >= 5:
            return super().prepare(features)
        return {"nearest": torch.arange(5).expand(len(features), 5)}


class TestMutants(MutantTests):
    kind = "positive"
    valid = (ValidPositives, ValidPositivesWithoutFeatures)
    mutants = MUTANTS
