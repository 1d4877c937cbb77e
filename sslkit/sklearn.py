"""scikit-learn estimators that apply the network of a run to arrays of images."""

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

from sslkit.device.hardware import DeviceName, choose_device
from sslkit.errors import InputError
from sslkit.evaluation.class_groups import group_by_name, predict_group
from sslkit.runs.class_names import read_class_names
from sslkit.runs.find import find_finished_run, runs_folder
from sslkit.trained.network import TrainedNetwork
from sslkit.views.preprocess import preprocess


class _ImageEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
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
        run = find_finished_run(None if self.run is None else str(self.run), root)[0]
        network = TrainedNetwork(run, choose_device(self.device))
        self.backbone_ = network.backbone
        self.channels_: int = network.metadata["channels"]
        self.preprocessing_ = network.preprocessing
        self._check_image_shape()
        return network

    def _check_image_shape(self) -> None:
        shape = self.image_shape
        valid = shape is None or (len(shape) in (2, 3) and all(isinstance(side, int) and side > 0 for side in shape))
        if not valid:
            raise ValueError(f"image_shape must be (height, width) or (height, width, channels), not {shape!r}")

    def _validate_images(self, X: ArrayLike, *, reset: bool) -> Tensor:
        """Return X as images ``[N, C, H, W]``, uint8 or float32 in [0, 1]."""
        # scikit-learn checks the number of features of flattened rows. The channels of images are checked below.
        flattened = len(X.shape if hasattr(X, "shape") else np.asarray(X).shape) < 3
        array: NDArray[Any] = validate_data(
            self, X, reset=reset, ensure_2d=flattened, allow_nd=not flattened, dtype=_lossless_dtype(X)
        )
        if array.ndim == 2:
            array = array.reshape(len(array), *self._row_shape(array.shape[1]))
        if array.ndim == 3:
            array = array[..., None]
        if array.ndim != 4 or array.shape[3] != self.channels_:
            raise ValueError(
                f"images must be [N, H, W, {self.channels_}]"
                f"{', [N, H, W]' if self.channels_ == 1 else ''} or rows with image_shape set, because the run was "
                f"trained on {self.channels_} channels; found {list(array.shape)}"
            )
        return _scale(array).permute(0, 3, 1, 2)

    def _row_shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of the image that a row of ``width`` values contains."""
        shape = self.image_shape
        if shape is None:
            raise ValueError(
                f"the shape of images in rows of {width} values is unknown: set image_shape=(height, width)"
            )
        if math.prod(shape) != width:
            raise ValueError(f"rows of {width} values do not fit image_shape={tuple(shape)}")
        return tuple(shape)

    def _features(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the features ``[B, D]`` of each batch of images, as a tensor on the device of the network."""
        device = choose_device(self.device)
        with torch.no_grad():
            for batch in images.split(self.batch_size):
                pixels = preprocess(batch.to(device), self.preprocessing_)
                yield self.backbone_(pixels).float()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class SSLFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _ImageEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Transformer that converts images to the features of a finished run, ``[N, D]`` float32.

    X has the shape ``[N, H, W, C]``, ``[N, H, W]`` if the run has one channel, or ``[N, H * W * C]`` if
    ``image_shape`` is set. Integers must be in [0, 255], floats in [0, 1]; other values cause a warning. Images are
    preprocessed as in evaluation: the shorter side is resized, then the centre is cropped and normalised.

    ``fit`` loads the network and learns nothing from X.

    Args:
        run: the run's folder, ``NAME/ID``, ``NAME`` or ``ID``; None means the newest finished run.
        runs: the folder of all runs; None means ``$SSLKIT_RUNS``, else ``./runs``.
        image_shape: shape of the images in flattened rows, ``(height, width)`` or ``(height, width, channels)``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        batch_size: number of images in one forward pass.

    Raises:
        ValueError: X has a different number of channels than the run's images.
        sslkit.RunError: there is no such run, or it has not finished.

    Examples:
        >>> pipeline = make_pipeline(SSLFeatures("quickstart"), LogisticRegression())
        >>> pipeline.fit(images, labels)
    """

    def fit(self, X: ArrayLike, y: Any = None) -> SSLFeatures:
        """Load the network.

        Args:
            X: images; only their shape is used.
            y: ignored.
        """
        self._n_features_out: int = self._load().metadata["feature_dim"]
        self._validate_images(X, reset=True)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the features ``[N, D]`` of images."""
        check_is_fitted(self)
        features: NDArray[np.float32] = torch.cat(
            [part.cpu() for part in self._features(self._validate_images(X, reset=False))]
        ).numpy()
        return features

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class SSLClusters(ClusterMixin, _ImageEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Clusterer that assigns each image to a class that a finished run discovered.

    Parameters and X are those of ``SSLFeatures``.

    Attributes:
        labels_: class of each image that was passed to ``fit``.
        names_: name of each class, from the run's ``classes.toml``, or None if there is no such file.

    Raises:
        sslkit.InputError: the run has no classifier.
    """

    def fit(self, X: ArrayLike, y: Any = None) -> SSLClusters:
        """Load the network and classify X. Nothing is learned from X."""
        network = self._load()
        if network.head is None or not network.classes:
            raise InputError(f"{network.metadata['run']} has no classifier, so it has no classes")
        self.head_, self.classifier_ = network.head, network.classifier
        self.temperature_ = 1.0 if network.temperature is None else network.temperature
        self.names_ = read_class_names(network.run, network.classes)
        self.labels_ = self._classify(self._validate_images(X, reset=True))
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the class of each image, as ``sslkit predict`` does.

        Classes with the same name form a group. The result is the smallest index in the group whose probabilities have
        the largest sum.
        """
        check_is_fitted(self)
        return self._classify(self._validate_images(X, reset=False))

    def _classify(self, images: Tensor) -> NDArray[np.int64]:
        logits = torch.cat([self.head_(part).logits[self.classifier_].float().cpu() for part in self._features(images)])
        group, _ = group_by_name(self.names_ or [""] * logits.shape[1])
        classes: NDArray[np.int64] = predict_group(logits, self.temperature_, group)[0].numpy()
        return classes


def _lossless_dtype(X: ArrayLike) -> str:
    """Return a dtype that represents X exactly: an integer type for integers, a float type for floats."""
    dtype = np.asarray(X).dtype
    if dtype == np.uint8:
        return "uint8"
    if dtype.kind in "iub":
        return "int64"
    return "float32" if dtype in (np.float16, np.float32) else "float64"


def _scale(array: NDArray[Any]) -> Tensor:
    """Return images as uint8 or as float32 scaled to [0, 1], and warn about out-of-range values."""
    if array.dtype == np.uint8:
        return torch.tensor(array)
    maximum = 255 if array.dtype.kind == "i" else 1
    low, high = array.min(), array.max()
    if low < 0 or high > maximum:
        kind = "integer" if maximum == 255 else "float"
        warnings.warn(
            f"pixel values range from {low:g} to {high:g}, but {kind} images must be in [0, {maximum}]: scale them",
            stacklevel=4,
        )
    return torch.tensor(array, dtype=torch.float32) / maximum
