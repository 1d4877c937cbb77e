"""Mutants of backbones: every conformance test fails for a component that violates it."""

from __future__ import annotations

import random
from typing import Any

import torch
from mutants import Mutants, MutantTests
from torch import Tensor, nn

import sslkit

MUTANTS = Mutants()


class ValidBackbone(sslkit.Backbone):
    """Backbone with two convolutions."""

    api = 2

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


class ValidBackboneWithDropout(ValidBackbone):
    """Backbone with dropout in training."""

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(super().forward(images))
        return dropped


class EquivalentModel(nn.Module):
    """Model of a different library with the same layers and a classifier."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU())
        self.second = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.last = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.last(self.second(self.first(images)).mean((2, 3)))
        return result


class ValidBackboneWithCounterparts(ValidBackbone):
    """Backbone with an equivalent model in one library, and a reason why a second library has none."""

    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        own = sslkit.Counterpart(f"{__name__}.EquivalentModel", self.state_dict(), {"channels": 3}, classifier="last")
        return {"own": own, "other": "it has no such model"}


class ValidTransformer(sslkit.Backbone):
    """Transformer with patches of 8 x 8 pixels and one layer of attention, which has no feature maps."""

    api = 2
    feature_dim = 8
    patch_size = 8
    provides = frozenset({"tokens"})

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding = nn.Conv2d(context.channels, 8, 8, 8)
        self.positions = nn.Parameter(torch.randn(8, 8, 8))
        self.attention = nn.MultiheadAttention(8, 1, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(images).features

    def tokens(
        self,
        images: Tensor,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> sslkit.Tokens:
        maps = self.embedding(images)
        positions = self.positions[:, : maps.shape[2], : maps.shape[3]].flatten(1).T
        patches = maps.flatten(2).transpose(1, 2)
        if mask is not None and mask_token is not None:
            patches = torch.where(mask[..., None], mask_token.to(patches.dtype), patches)
        patches = self.place(patches, positions)
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, 8))
        patches = patches + self.attention(patches, patches, patches, need_weights=False)[0]
        return sslkit.Tokens(patches.mean(1), patches[:, :0], patches)

    def place(self, patches: Tensor, positions: Tensor) -> Tensor:
        return patches + positions

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        raise sslkit.InputError("it has no feature maps")

    def no_weight_decay(self) -> frozenset[str]:
        return frozenset({"positions"})


@MUTANTS.fails("test_provided_abilities_are_known")
class BackboneThatProvidesAnUnknownAbility(ValidBackbone):
    provides: Any = frozenset({"feature_maps", "masks"})


@MUTANTS.fails("test_tokens_have_one_vector_for_each_patch")
class TransformerWithOtherFeatures(ValidTransformer):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + 1


@MUTANTS.fails("test_tokens_depend_only_on_kept_patches")
class TransformerThatIgnoresKeep(ValidTransformer):
    def tokens(self, images: Tensor, keep: Tensor | None = None, **masking: Any) -> sslkit.Tokens:
        return super().tokens(images, **masking)


@MUTANTS.fails("test_tokens_depend_only_on_kept_patches")
class TransformerThatSortsKeep(ValidTransformer):
    def tokens(self, images: Tensor, keep: Tensor | None = None, **masking: Any) -> sslkit.Tokens:
        return super().tokens(images, None if keep is None else keep.sort(1)[0], **masking)


@MUTANTS.fails("test_mask_token_replaces_masked_patches")
class TransformerThatIgnoresTheMask(ValidTransformer):
    def tokens(self, images: Tensor, keep: Tensor | None = None, **masking: Any) -> sslkit.Tokens:
        return super().tokens(images, keep)


@MUTANTS.fails("test_mask_token_replaces_masked_patches")
class TransformerWithoutPositions(ValidTransformer):
    def place(self, patches: Tensor, positions: Tensor) -> Tensor:
        return patches + positions.mean()


@MUTANTS.fails("test_parameters_without_weight_decay_exist")
class BackboneThatMisspellsAParameter(ValidBackbone):
    def no_weight_decay(self) -> frozenset[str]:
        return frozenset({"cls_token"})


@MUTANTS.fails("test_features_have_the_announced_shape")
class BackboneWithWrongFeatureDim(ValidBackbone):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.feature_dim = 9


@MUTANTS.fails("test_feature_maps_have_the_size_of_their_stride")
class BackboneWithMapsRoundedDown(ValidBackbone):
    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        maps = super().feature_maps(images)
        return {1: maps[1], 2: maps[2][:, :, : images.shape[2] // 2, : images.shape[3] // 2]}


class ValidBackboneWithWeights(ValidBackbone):
    """Backbone with pretrained weights, whose two layers are blocks."""

    @classmethod
    def weight_sources(cls, options: Any) -> dict[str, sslkit.Preprocessing]:
        return {"imagenet": sslkit.Preprocessing(32, (0.5,) * 3, (0.2,) * 3)}

    def load_weights_from(self, source: str) -> str:
        raise sslkit.InputError("there is no network")

    def blocks(self) -> list[list[nn.Parameter]]:
        return [list(self.first.parameters()), list(self.second.parameters())]


@MUTANTS.fails("test_blocks_have_every_parameter_at_most_once")
class BackboneWithOverlappingBlocks(ValidBackboneWithWeights):
    def blocks(self) -> list[list[nn.Parameter]]:
        return [*super().blocks(), [self.second.bias]]


@MUTANTS.fails("test_blocks_have_every_parameter_at_most_once")
class BackboneWithAnEmptyBlock(ValidBackboneWithWeights):
    def blocks(self) -> list[list[nn.Parameter]]:
        return [*super().blocks(), []]


@MUTANTS.fails("test_blocks_have_every_parameter_at_most_once")
class BackboneWithBlocksOfCopies(ValidBackboneWithWeights):
    def blocks(self) -> list[list[nn.Parameter]]:
        return [[nn.Parameter(parameter.detach()) for parameter in self.parameters()]]


@MUTANTS.fails("test_weight_sources_have_a_preprocessing")
class BackboneThatCannotLoadItsWeights(ValidBackboneWithWeights):
    load_weights_from = sslkit.Backbone.load_weights_from


@MUTANTS.fails("test_weight_sources_have_a_preprocessing")
class BackboneWithSizesInsteadOfPreprocessing(ValidBackboneWithWeights):
    @classmethod
    def weight_sources(cls, options: Any) -> Any:
        return {"imagenet": 32}


@MUTANTS.fails("test_weight_sources_have_a_preprocessing")
class BackboneWithAnIncompletePreprocessing(ValidBackboneWithWeights):
    @classmethod
    def weight_sources(cls, options: Any) -> dict[str, sslkit.Preprocessing]:
        return {"imagenet": sslkit.Preprocessing(32, (0.5,) * 3, (0.2,))}


@MUTANTS.fails("test_gradients_are_finite_and_reach_every_parameter")
class BackboneWithAnUnusedLayer(ValidBackbone):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.idle = nn.Linear(2, 2)


@MUTANTS.fails("test_channels_last_images_give_the_same_features")
class BackboneThatNeedsContiguousMaps(ValidBackbone):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.feature_maps(images)[2]
        return maps.view(len(maps), -1).view(len(maps), 8, -1).mean(2)


@MUTANTS.fails("test_channels_last_images_give_the_same_features")
class BackboneThatDependsOnMemoryOrder(ValidBackbone):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return features if images.is_contiguous() else 1.1 * features


@MUTANTS.fails("test_training_works_in_bfloat16")
class BackboneThatMixesDtypes(ValidBackbone):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        same = torch.eye(8, dtype=features.dtype, device=features.device)
        return torch.zeros_like(features, dtype=torch.float32).addmm_(features, same)


@MUTANTS.fails("test_input_images_are_not_modified")
class BackboneThatModifiesImages(ValidBackbone):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        if not torch.is_grad_enabled():
            images[:, :, 0, 0] += 1
        return features


@MUTANTS.fails("test_eval_features_do_not_depend_on_other_images")
class BackboneThatCentresTheBatch(ValidBackbone):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return features - features.mean(0)


@MUTANTS.fails("test_global_random_state_is_not_used")
class BackboneThatUsesGlobalRandomness(ValidBackbone):
    def forward(self, images: Tensor) -> Tensor:
        random.random()
        return super().forward(images)


@MUTANTS.fails("test_state_dict_restores_the_full_state")
class BackboneWithANonPersistentBuffer(ValidBackbone):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.register_buffer("scale", torch.rand(8), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale


@MUTANTS.fails("test_counterparts_give_the_same_features")
class BackboneWithAWrongCounterpart(ValidBackbone):
    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        state = {name: value + (value.is_floating_point() * 0.01) for name, value in self.state_dict().items()}
        return {"own": sslkit.Counterpart(f"{__name__}.EquivalentModel", state, {"channels": 3}, classifier="last")}


@MUTANTS.fails("test_works_on_any_device_without_a_device_sync")
class BackboneWithATensorOnTheHost(ValidBackbone):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.scale = torch.ones(8)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale


@MUTANTS.fails("test_works_on_any_device_without_a_device_sync")
class BackboneThatSyncsInTraining(ValidBackbone):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return features * bool(features.detach().isfinite().all()) if self.training else features


@MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")
class BackboneThatSeedsTorchInItsConstructor(ValidBackbone):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        torch.manual_seed(0)
        super().__init__(options, context)


@MUTANTS.fails("test_gradients_reach_every_image")
class BackboneThatDetachesHalfOfTheImages(ValidBackbone):
    def forward(self, images: Tensor) -> Tensor:
        features, half = super().forward(images), len(images) // 2
        return torch.cat([features[:half], features[half:].detach()])


@MUTANTS.fails("test_no_graph_is_kept_after_a_step")
class BackboneThatKeepsItsFeatures(ValidBackbone):
    def forward(self, images: Tensor) -> Tensor:
        self.features = super().forward(images)
        return self.features


class TestMutants(MutantTests):
    kind = "backbone"
    valid = (
        ValidBackbone,
        ValidBackboneWithCounterparts,
        ValidBackboneWithDropout,
        ValidTransformer,
    )
    mutants = MUTANTS
