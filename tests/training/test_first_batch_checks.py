"""Components that do not return what they declare are refused at the first batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sslkit.contracts.dataset import Split
from sslkit.data.store import TensorStore
from sslkit.errors import DataError, IncompatibleComponentError
from sslkit.recipe.load import load_recipe
from sslkit.training.train import train

BROKEN_COMPONENTS = """
import torch, sslkit
class TooMany(sslkit.Views):
    api = 1
    groups = (sslkit.ViewGroup(2, 8, True),)
    def draw(self, n, generator):
        return ({"x": torch.zeros(n, 2)},)
    def apply(self, images, parameters):
        return (torch.zeros(len(images), 2, 1, 8, 8),)
class Narrow(sslkit.Head):
    api = 1
    embedding_dim = 32
    classifiers = (10,)
    def embed(self, features):
        return features[:, :8]
    def classify(self, embedding):
        return (embedding,)
class Stops(sslkit.Loss):
    api = 1
    def forward(self, views):
        return next(iter(()))
"""


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        (
            "views.use=too-many",
            IncompatibleComponentError,
            r"view 'too-many' of plug .*: views are \[\(256, 2, 1, 8, 8\)\], but",
        ),
        (
            "head.use=narrow",
            IncompatibleComponentError,
            r"head 'narrow' of plug .*: it returns embeddings of \(8,\) and logits of",
        ),
        ("loss.use=stops", RuntimeError, "a component raised StopIteration in a training step"),
    ],
)
def test_broken_components_are_refused_at_the_first_batch(
    tiny: Path, tmp_path: Path, install: Any, setting: str, error: type[Exception], message: str
) -> None:
    entries = {"views": "too-many = word:TooMany", "heads": "narrow = word:Narrow", "losses": "stops = word:Stops"}
    entry_points = "".join(f"[sslkit.{kind}]\n{entry}\n" for kind, entry in entries.items())
    install("plug", entry_points, word=BROKEN_COMPONENTS)
    with pytest.raises(error, match=message):
        train(load_recipe(tiny, [setting]), tmp_path / "runs")


def test_a_split_needs_one_label_per_image() -> None:
    images = TensorStore(torch.zeros(5, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(DataError, match="3 labels for 5 images"):
        Split(images, torch.zeros(3, dtype=torch.int64))
