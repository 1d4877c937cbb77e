"""A run's network as scikit-learn estimators: images in arrays to features, or to discovered classes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from sslkit.device.hardware import DeviceName, choose
from sslkit.errors import InputError
from sslkit.evaluation import class_naming as named
from sslkit.runs.class_names import read_class_names
from sslkit.runs.find import find_run, runs_folder
from sslkit.trained.network import TrainedNetwork
from sslkit.views.preprocess import prepare


class _OnImages(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    def __init__(
        self,
        run: str | Path | None = None,
        *,
        runs: str | Path | None = None,
        image_shape: tuple[int, ...] | None = None,
        device: DeviceName = "auto",
        batch_size: int = 512,
    ) -> None:
        self.run = run
        self.runs = runs
        self.image_shape = image_shape
        self.device = device
        self.batch_size = batch_size

    def _load(self) -> TrainedNetwork:
        root = runs_folder(None if self.runs is None else Path(self.runs))
        run = find_run(None if self.run is None else str(self.run), root)
        network = TrainedNetwork(run, choose(self.device, "auto").device)
        self.backbone_ = network.backbone
        self.channels_: int = network.metadata["channels"]
        self.image_size_: int = network.metadata["image_size"]
        self.mean_, self.std_ = tuple(network.metadata["mean"]), tuple(network.metadata["std"])
        self._check_shape()
        return network

    def _check_shape(self) -> None:
        shape = self.image_shape
        whole = shape is None or (len(shape) in (2, 3) and all(isinstance(side, int) and side > 0 for side in shape))
        if not whole:
            raise ValueError(f"image_shape must be (height, width) or (height, width, channels), not {shape!r}")

    def _checked(self, X: ArrayLike, *, reset: bool) -> Tensor:
        """Images ``[N, C, H, W]``, uint8 or float32 in 0..1."""
        # Of rows scikit-learn remembers and compares the number of features; of images the run knows the channels.
        rows = len(X.shape if hasattr(X, "shape") else np.asarray(X).shape) < 3
        array: NDArray[Any] = validate_data(self, X, reset=reset, ensure_2d=rows, allow_nd=not rows, dtype=_wide(X))
        if array.ndim == 2:
            array = array.reshape(len(array), *self._declared(array.shape[1]))
        if array.ndim == 3:
            array = array[..., None]
        if array.ndim != 4 or array.shape[3] != self.channels_:
            raise ValueError(
                f"images must be [N, H, W, {self.channels_}]"
                f"{', [N, H, W]' if self.channels_ == 1 else ''} or rows of a declared image_shape, as the run was "
                f"trained on {self.channels_} channels; found {list(array.shape)}"
            )
        return _scaled(array).permute(0, 3, 1, 2)

    def _declared(self, width: int) -> tuple[int, ...]:
        """The shape of images in rows of so many numbers."""
        shape = self.image_shape
        if shape is None:
            raise ValueError(
                f"rows of {width} numbers may be images of many shapes: declare image_shape=(height, width)"
            )
        if math.prod(shape) != width:
            raise ValueError(f"rows of {width} numbers are no images of image_shape={tuple(shape)}")
        return tuple(shape)

    def _features(self, images: Tensor) -> Iterator[Tensor]:
        """Features ``[B, D]`` of each batch, on the device."""
        device = choose(self.device, "auto").device
        with torch.no_grad():
            for batch in images.split(self.batch_size):
                pixels = prepare(batch.to(device), self.image_size_, self.mean_, self.std_)
                yield self.backbone_(pixels).float()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class SSLFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _OnImages):  # type: ignore[misc]  # scikit-learn has no types
    """Images in an array to the features of a finished run, ``[N, D]`` float32.

    Images are ``[N, H, W, C]``, ``[N, H, W]`` where the run has one channel, or flattened rows whose shape
    ``image_shape`` tells.  Whole numbers are 0 to 255, others 0 to 1; beyond that there is a warning.  They are
    prepared as in evaluation: the shorter side resized, the middle square, the run's normalisation.

    Nothing is learned from X: ``fit`` loads the network, and remembers how many features X has.

    Args:
        run: the run's folder, ``NAME/ID``, ``NAME`` or ``ID``; the latest where None.
        runs: the folder of all runs; as the command line finds it where None.
        image_shape: ``(height, width)`` or ``(height, width, channels)`` of flattened rows.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        batch_size: images at a time.

    Raises:
        ValueError: X holds no images of the run's channels.
        sslkit.RunError: there is no such run, or it has not finished.
    """

    def fit(self, X: ArrayLike, y: Any = None) -> SSLFeatures:
        """Load the network."""
        self._n_features_out: int = self._load().metadata["feature_dim"]
        self._checked(X, reset=True)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Features ``[N, D]``."""
        check_is_fitted(self)
        found: NDArray[np.float32] = torch.cat(
            [part.cpu() for part in self._features(self._checked(X, reset=False))]
        ).numpy()
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class SSLClusters(ClusterMixin, _OnImages):  # type: ignore[misc]  # scikit-learn has no types
    """Images in an array to the classes that a finished run discovered; arguments and images as of ``SSLFeatures``.

    Attributes:
        labels_: the class of each image that it was fitted on.
        names_: the name of each class, from the run's ``classes.toml``; None where nobody named any.

    Raises:
        sslkit.InputError: the run has no classifier.
    """

    def fit(self, X: ArrayLike, y: Any = None) -> SSLClusters:
        """Load the network, and classify X; nothing is learned from it."""
        network = self._load()
        if network.head is None or not network.classes:
            raise InputError(f"{network.metadata['run']} has no classifier, so it discovered no classes")
        self.head_, self.classifier_ = network.head, network.classifier
        self.temperature_ = 1.0 if network.temperature is None else network.temperature
        self.names_ = read_class_names(network.run, network.classes)
        self.labels_ = self._classify(self._checked(X, reset=True))
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The class of each image, as ``sslkit predict`` writes it: of classes with one name, the likeliest."""
        check_is_fitted(self)
        return self._classify(self._checked(X, reset=False))

    def _classify(self, images: Tensor) -> NDArray[np.int64]:
        logits = torch.cat([self.head_(part).logits[self.classifier_].float().cpu() for part in self._features(images)])
        group, _ = named.grouping(self.names_ or [""] * logits.shape[1])
        found: NDArray[np.int64] = named.choose(logits, self.temperature_, group)[0].numpy()
        return found


def _wide(X: ArrayLike) -> str:
    """A type that holds the numbers of X as they are, and tells whole ones from others."""
    given = np.asarray(X).dtype
    if given == np.uint8:
        return "uint8"
    if given.kind in "iub":
        return "int64"
    return "float32" if given in (np.float16, np.float32) else "float64"


def _scaled(array: NDArray[Any]) -> Tensor:
    if array.dtype == np.uint8:
        return torch.tensor(array)
    top = 255 if array.dtype.kind == "i" else 1
    low, high = array.min(), array.max()
    if low < 0 or high > top:
        kind = "whole numbers" if top == 255 else "numbers with a fraction"
        warnings.warn(
            f"pixels go from {low:g} to {high:g}, but {kind} are taken to be 0 to {top}: scale them", stacklevel=4
        )
    return torch.tensor(array, dtype=torch.float32) / top
