"""Components that do not return what they declare are refused at the first batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sslkit.contracts.dataset import Split
from sslkit.data.datasets.digits import Digits
from sslkit.data.store import TensorStore
from sslkit.errors import IncompatibleComponentError
from sslkit.recipe.load import load_recipe
from sslkit.training.train import train

BROKEN_COMPONENTS = """
import torch, sslkit
class TooMany(sslkit.Views):
    api = 2
    groups = (sslkit.ViewGroup(2, 8, True),)
    def draw(self, n, generator):
        return ({"x": torch.zeros(n, 2)},)
    def apply(self, images, parameters):
        return (torch.zeros(len(images), 2, 1, 8, 8),)
class Narrow(sslkit.Head):
    api = 2
    embedding_dim = 32
    classifiers = (10,)
    def embed(self, features):
        return features[:, :8]
    def classify(self, embedding):
        return (embedding,)
class Pair(Narrow):
    def embed(self, features):
        return features, features
class Stops(sslkit.Loss):
    api = 2
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
        ("head.use=pair", IncompatibleComponentError, r"word.Pair.embed must return a tensor, not of type tuple"),
        ("loss.use=stops", RuntimeError, "a component raised StopIteration in a training step"),
    ],
)
def test_broken_components_are_refused_at_the_first_batch(
    tiny: Path, tmp_path: Path, install: Any, setting: str, error: type[Exception], message: str
) -> None:
    entries = {
        "views": "too-many = word:TooMany",
        "heads": "narrow = word:Narrow\npair = word:Pair",
        "losses": "stops = word:Stops",
    }
    entry_points = "".join(f"[sslkit.{kind}]\n{entry}\n" for kind, entry in entries.items())
    install("plug", entry_points, word=BROKEN_COMPONENTS)
    with pytest.raises(error, match=message):
        train(load_recipe(tiny, [setting]), tmp_path / "runs")


def test_a_split_needs_one_label_per_image() -> None:
    images = TensorStore(torch.zeros(5, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(IncompatibleComponentError, match="3 labels for 5 images"):
        Split(images, torch.zeros(3, dtype=torch.int64))


def test_a_split_needs_a_store_and_tensors() -> None:
    pixels = torch.zeros(5, 1, 2, 2, dtype=torch.uint8)
    for images in (pixels, pixels.numpy()):
        found = type(images).__name__
        message = rf"must be a store, such as sslkit.TensorStore\(images\), not of type {found}"
        with pytest.raises(IncompatibleComponentError, match=message):
            Split(images)  # type: ignore[arg-type]
    for name in ("labels", "masks"):
        with pytest.raises(IncompatibleComponentError, match=f"the {name} of a split must be a torch.Tensor.* ndarray"):
            Split(TensorStore(pixels), **{name: np.zeros(5)})


def test_a_data_set_must_return_a_split(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Digits.load
    monkeypatch.setattr(Digits, "load", lambda self, name: (load(self, name).images, load(self, name).labels))
    with pytest.raises(
        IncompatibleComponentError, match=r"Digits.load\('train'\) must return an sslkit.Split, not .*tuple"
    ):
        train(load_recipe(tiny), tmp_path / "runs")
