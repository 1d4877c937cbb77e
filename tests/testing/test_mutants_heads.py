"""Mutants of heads: every conformance test fails for a component that violates it."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from mutants import Mutants, MutantTests
from torch import Tensor, nn
from torch.nn.functional import normalize

import sslkit

MUTANTS = Mutants()


class ValidHead(sslkit.Head):
    """Valid head with a linear layer, BatchNorm and prototypes."""

    api = 2

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding_dim, self.classifiers = 6, (5,)
        self.projection = nn.Sequential(nn.Linear(context.feature_dim, 6), nn.BatchNorm1d(6))
        self.prototypes = nn.Parameter(torch.randn(5, 6))

    def embed(self, features: Tensor) -> Tensor:
        return normalize(self.projection(features).float())

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(embedding.device.type, enabled=False):
            return (embedding @ self.prototypes.T,)


@MUTANTS.fails("test_outputs_have_the_announced_shapes")
class HeadWithWrongEmbeddingDim(ValidHead):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding_dim = 7


@MUTANTS.fails("test_embeddings_of_a_head_with_classifiers_are_l2_normalised")
class HeadWithoutNormalisation(ValidHead):
    def embed(self, features: Tensor) -> Tensor:
        return 2 * super().embed(features)


@MUTANTS.fails("test_classify_gives_the_logits_of_forward")
class HeadWithOtherLogitsInForward(ValidHead):
    def forward(self, features: Tensor) -> sslkit.HeadOutput:
        output = super().forward(features)
        return sslkit.HeadOutput(output.embedding, tuple(10 * logits for logits in output.logits))


@MUTANTS.fails("test_logits_are_float32_under_autocast")
class HeadInBfloat16(ValidHead):
    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return (embedding @ self.prototypes.T,)


@MUTANTS.fails("test_gradients_are_finite_and_reach_every_parameter")
class HeadWithAnUnusedLayer(ValidHead):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.idle = nn.Linear(2, 2)


@MUTANTS.fails("test_eval_embeddings_do_not_depend_on_other_images")
class HeadThatCentresTheBatch(ValidHead):
    def embed(self, features: Tensor) -> Tensor:
        return super().embed(features - features.mean(0))


@MUTANTS.fails("test_global_random_state_is_not_used")
class HeadThatUsesGlobalRandomness(ValidHead):
    def embed(self, features: Tensor) -> Tensor:
        if features.device.type == "cpu" and not self.training:
            torch.rand(1)
        return super().embed(features)


@MUTANTS.fails("test_state_dict_restores_the_full_state")
class HeadWithUnsavedState(ValidHead):
    steps = 0

    def after_step(self) -> None:
        self.steps += 1

    def embed(self, features: Tensor) -> Tensor:
        return super().embed(features + 0.1 * self.steps * features.roll(1, 1))


@MUTANTS.fails("test_works_on_any_device_without_a_device_sync")
class HeadThatSyncs(ValidHead):
    def embed(self, features: Tensor) -> Tensor:
        return super().embed(features if bool(features.isfinite().all()) else features * 0)


@MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")
class HeadThatDrawsFromNumpyInItsConstructor(ValidHead):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        numpy.random.rand()


@MUTANTS.fails("test_gradients_reach_every_image")
class HeadThatDetachesHalfOfTheImages(ValidHead):
    def embed(self, features: Tensor) -> Tensor:
        embedding, half = super().embed(features), len(features) // 2
        return torch.cat([embedding[:half], embedding[half:].detach()])


@MUTANTS.fails("test_input_features_are_not_modified")
class HeadThatModifiesFeatures(ValidHead):
    def embed(self, features: Tensor) -> Tensor:
        embedding = super().embed(features)
        if self.training and not torch.is_grad_enabled():
            features += 1
        return embedding


@MUTANTS.fails("test_no_graph_is_kept_after_a_step")
class HeadThatKeepsItsEmbedding(ValidHead):
    def embed(self, features: Tensor) -> Tensor:
        self.kept = {"embedding": super().embed(features)}
        return self.kept["embedding"]


class TestMutants(MutantTests):
    kind = "head"
    valid = (ValidHead,)
    mutants = MUTANTS
