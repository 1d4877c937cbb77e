"""The Self-Classifier head: an MLP with weight-normalised classifiers on its L2-normalised output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

import sslkit

ACTIVATIONS: dict[str, type[nn.Module]] = {"leaky-relu": nn.LeakyReLU, "relu": nn.ReLU, "gelu": nn.GELU}

Width = Annotated[int, Field(ge=1, le=100_000)]
Classes = Annotated[int, Field(ge=2, le=10_000_000)]


class SelfClassifierHead(sslkit.Head):
    """MLP head that maps features ``[B, D]`` to unit embeddings ``[B, E]`` and logits ``[B, K]`` of each classifier.

    A hidden layer consists of a linear layer, BatchNorm, an activation and dropout. A final linear layer computes the
    embedding. Classifiers have no bias. The logit of class k is ``gain_k * direction_k . embedding / |direction_k|``
    (weight normalisation, Salimans and Kingma 2016). With the initial gain of 1, the logit is a cosine. Under autocast,
    embeddings are normalised and classified in the precision of the parameters, because small temperatures amplify
    rounding errors.

    Source: arXiv 2103.10994; initialisation and gains follow the authors' published model.
    """

    api = 2

    class Options(sslkit.Options):
        classifiers: tuple[Classes, ...] = Field(min_length=1)
        """Number of classes of each classifier, such as [10] or [10, 10, 20]."""

        hidden_dims: tuple[Width, ...] = (4096,)
        """Width of each hidden layer; [] means a single linear layer."""

        embedding_dim: int = Field(128, ge=1, le=100_000)
        """Dimension of the embedding."""

        batch_norm: bool = True
        """Use BatchNorm in each hidden layer."""

        activation: Literal["leaky-relu", "relu", "gelu"] = "leaky-relu"
        """Activation of each hidden layer."""

        dropout: float = Field(0.0, ge=0, lt=1)
        """Probability of dropping a hidden value after each activation, in training only."""

        train_gain: bool = True
        """Train the gain of each class. If false, gains stay 1, and logits are cosines."""

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"classifiers": [7, 3], "hidden_dims": [16]}

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding_dim = options.embedding_dim
        self.classifiers = options.classifiers

        layers: list[nn.Module] = []
        width = context.feature_dim
        for hidden in options.hidden_dims:
            layers.append(nn.Linear(width, hidden))
            if options.batch_norm:
                layers.append(nn.BatchNorm1d(hidden))
            activation = ACTIVATIONS[options.activation]()
            # One layer, so that the names of the weights do not depend on dropout.
            layers.append(nn.Sequential(activation, nn.Dropout(options.dropout)) if options.dropout else activation)
            width = hidden
        self.mlp = nn.Sequential(*layers, nn.Linear(width, options.embedding_dim))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

        # A separate parameter for each classifier, because LARS scales each parameter separately.
        self.directions = nn.ParameterList(
            nn.Linear(options.embedding_dim, classes, bias=False).weight for classes in options.classifiers
        )
        self.gains = nn.ParameterList(
            nn.Parameter(torch.ones(classes, 1), requires_grad=options.train_gain) for classes in options.classifiers
        )

    def embed(self, features: Tensor) -> Tensor:
        """Return embeddings ``[B, E]`` of length 1."""
        projected: Tensor = self.mlp(features)
        return functional.normalize(projected.to(self.directions[0].dtype))

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Return the logits ``[B, K]`` of each classifier."""
        # One matrix product for all classifiers is faster than separate products.
        weight = functional.normalize(torch.cat(list(self.directions))) * torch.cat(list(self.gains))
        with torch.autocast(embedding.device.type, enabled=False):
            logits = functional.linear(embedding.to(weight.dtype), weight)
        return torch.split(logits, list(self.classifiers), dim=1)
