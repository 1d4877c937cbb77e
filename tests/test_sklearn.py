"""The scikit-learn estimators return the same features and classes as evaluation, and pass scikit-learn's checks."""

from __future__ import annotations

import pickle
import shutil
import tomllib
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
import tomli_w
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import sslkit
from sslkit.evaluation.run_subject import RunSubject
from sslkit.runs.class_names import write_class_names
from sslkit.runs.run import Run
from sslkit.sklearn import SSLClusters, SSLFeatures


@pytest.fixture(scope="module")
def subject(finished_run: Path) -> RunSubject:
    return RunSubject(Run(finished_run), "cpu")


@pytest.fixture(scope="module")
def images(subject: RunSubject) -> Any:
    """The run's first 80 test images, uint8 [N, H, W]."""
    return subject.split("test").images.gather(torch.arange(80))[:, 0].numpy()


def test_every_image_format_gives_the_features_of_evaluation(
    finished_run: Path, subject: RunSubject, images: Any
) -> None:
    expected = subject.features("test").features[:80].numpy()
    features = SSLFeatures(finished_run, device="cpu", batch_size=32)
    before = images.copy()
    formats = [images, images[..., None], images / 255.0, (images / 255).astype("float32"), (images / 255.0).tolist()]
    formats += [images.astype(kind) for kind in ("int64", "int16", "uint16", "uint32")] + [images.tolist()]
    for X in formats:
        transformed = features.fit(X).transform(X)
        assert transformed.dtype == numpy.float32
        numpy.testing.assert_allclose(transformed, expected, rtol=1e-4, atol=1e-5)
    for shape in ((8, 8), (8, 8, 1)):
        rows = SSLFeatures(finished_run, image_shape=shape).fit(images.reshape(80, 64))
        numpy.testing.assert_allclose(rows.transform(images.reshape(80, 64)), expected, rtol=1e-4, atol=1e-5)
    assert (images == before).all()
    assert list(features.get_feature_names_out()[:2]) == ["sslfeatures0", "sslfeatures1"]


def test_estimator_works_in_a_pipeline_and_can_be_cloned_and_pickled(
    finished_run: Path, subject: RunSubject, images: Any
) -> None:
    labels = subject.split("test").labels
    assert labels is not None
    pipeline = make_pipeline(clone(SSLFeatures(str(finished_run))), LogisticRegression(max_iter=500))
    assert pipeline.fit(images, labels[:80]).score(images, labels[:80]) > 0.9
    restored = pickle.loads(pickle.dumps(pipeline))
    assert (restored.predict_proba(images) == pipeline.predict_proba(images)).all()


def test_clusters_are_the_discovered_classes_and_equal_names_merge_them(
    finished_run: Path, subject: RunSubject, images: Any, tmp_path: Path
) -> None:
    logits = subject.features("test").logits
    assert logits is not None
    clusters = SSLClusters(finished_run).fit_predict(images)
    assert clusters.tolist() == logits[:80].argmax(1).tolist()
    run = Run(shutil.copytree(finished_run, tmp_path / "run"))
    write_class_names(run, ["low"] * 5 + [""] * 5)
    merged = SSLClusters(run.path).fit(images)
    assert merged.names_ == ("low",) * 5 + ("",) * 5
    probabilities = (logits[:80].double() / 0.1).softmax(1)
    low = probabilities[:, :5].sum(1) > probabilities[:, 5:].max(1).values
    expected = torch.where(low, 0, 5 + probabilities[:, 5:].argmax(1))
    assert merged.labels_.tolist() == merged.predict(images).tolist() == expected.tolist()

    recipe = tomllib.loads(run.recipe.read_text())
    del recipe["head"]
    run.recipe.write_text(tomli_w.dumps(recipe))
    with pytest.raises(sslkit.InputError, match="has no classifier, so it has no classes"):
        SSLClusters(run.path).fit(images)


@pytest.mark.parametrize(
    ("shape", "image_shape", "message"),
    [
        ((5, 64), None, r"rows of 64 values is unknown: set image_shape=\(height, width\)"),
        ((5, 64), (8, 9), r"rows of 64 values do not fit image_shape=\(8, 9\)"),
        ((5, 64), (8, -8), r"image_shape must be \(height, width\) or \(height, width, channels\), not \(8, -8\)"),
        (
            (5, 8, 8, 3),
            None,
            r"images must be \[N, H, W, 1\], \[N, H, W\] or rows .*; found \[5, 8, 8, 3\]",
        ),
    ],
)
def test_wrong_shapes_are_refused(finished_run: Path, shape: Any, image_shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SSLFeatures(finished_run, image_shape=image_shape).fit(numpy.zeros(shape))


def test_pixel_values_out_of_range_give_a_warning(finished_run: Path, images: Any) -> None:
    with pytest.warns(UserWarning, match=r"pixel values range from 0 to .*, but float images must be in \[0, 1\]"):
        SSLFeatures(finished_run).fit(images.astype(float))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SSLFeatures(finished_run).fit(images)


class RowFeatures(SSLFeatures):
    """Estimator that accepts rows of any length as images of one row, because scikit-learn's checks pass 1 to 20
    values."""

    def _row_shape(self, width: int) -> tuple[int, ...]:
        return 1, width


class RowClusters(SSLClusters):
    """Estimator that accepts rows of any length as images of one row."""

    def _row_shape(self, width: int) -> tuple[int, ...]:
        return 1, width


@pytest.mark.parametrize(
    ("estimator", "expected_failures"),
    [
        (
            RowFeatures,
            {"check_methods_subset_invariance": "float32 sums depend on the batch size, by about 1e-6"},
        ),
        (RowClusters, {"check_clustering": "the classes are the run's, not those of the check's blobs"}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_estimator_passes_the_checks_of_scikit_learn(
    estimator: Any, expected_failures: dict[str, str], finished_run: Path
) -> None:
    results = check_estimator(
        estimator(finished_run, device="cpu"), expected_failed_checks=expected_failures, on_skip=None
    )
    passed = {result["check_name"] for result in results if result["status"] == "passed"}
    assert len(passed) > 35
    failed = {result["check_name"] for result in results} - passed
    assert failed <= {*expected_failures, "check_array_api_input"}  # this check needs SCIPY_ARRAY_API
