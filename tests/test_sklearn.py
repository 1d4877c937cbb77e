"""The network as scikit-learn estimators: the same features and classes, and what scikit-learn asks of estimators."""

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
from sslkit.evaluation.subject import RunSubject
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


def test_every_form_of_an_image_gives_the_features_of_evaluation(
    finished_run: Path, subject: RunSubject, images: Any
) -> None:
    expected = subject.features("test").features[:80].numpy()
    features = SSLFeatures(finished_run, device="cpu", batch_size=32)
    before = images.copy()
    forms = [images, images[..., None], images / 255.0, (images / 255).astype("float32"), (images / 255.0).tolist()]
    forms += [images.astype(kind) for kind in ("int64", "int16", "uint16", "uint32")] + [images.tolist()]
    for form in forms:
        found = features.fit(form).transform(form)
        assert found.dtype == numpy.float32
        numpy.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for shape in ((8, 8), (8, 8, 1)):
        rows = SSLFeatures(finished_run, image_shape=shape).fit(images.reshape(80, 64))
        numpy.testing.assert_allclose(rows.transform(images.reshape(80, 64)), expected, rtol=1e-4, atol=1e-5)
    assert (images == before).all()
    assert list(features.get_feature_names_out()[:2]) == ["sslfeatures0", "sslfeatures1"]


def test_it_works_in_a_pipeline_is_cloned_and_pickled(finished_run: Path, subject: RunSubject, images: Any) -> None:
    labels = subject.split("test").labels
    assert labels is not None
    pipeline = make_pipeline(clone(SSLFeatures(str(finished_run))), LogisticRegression(max_iter=500))
    assert pipeline.fit(images, labels[:80]).score(images, labels[:80]) > 0.9
    again = pickle.loads(pickle.dumps(pipeline))
    assert (again.predict_proba(images) == pipeline.predict_proba(images)).all()


def test_clusters_are_the_discovered_classes_and_one_name_is_one_class(
    finished_run: Path, subject: RunSubject, images: Any, tmp_path: Path
) -> None:
    logits = subject.features("test").logits
    assert logits is not None
    found = SSLClusters(finished_run).fit_predict(images)
    assert found.tolist() == logits[:80].argmax(1).tolist()
    run = Run(shutil.copytree(finished_run, tmp_path / "run"))
    write_class_names(run, ["low"] * 5 + [""] * 5)
    merged = SSLClusters(run.path).fit(images)
    assert merged.names_ == ("low",) * 5 + ("",) * 5
    probabilities = (logits[:80].double() / 0.1).softmax(1)
    low = probabilities[:, :5].sum(1) > probabilities[:, 5:].max(1).values
    halves = torch.where(low, probabilities[:, :5].argmax(1), 5 + probabilities[:, 5:].argmax(1))
    assert merged.labels_.tolist() == merged.predict(images).tolist() == halves.tolist()

    recipe = tomllib.loads(run.recipe.read_text())
    del recipe["head"]
    run.recipe.write_text(tomli_w.dumps(recipe))
    with pytest.raises(sslkit.InputError, match="has no classifier, so it discovered no classes"):
        SSLClusters(run.path).fit(images)


@pytest.mark.parametrize(
    ("shape", "image_shape", "message"),
    [
        ((5, 64), None, r"rows of 64 numbers may be images of many shapes: declare image_shape=\(height, width\)"),
        ((5, 64), (8, 9), r"rows of 64 numbers are no images of image_shape=\(8, 9\)"),
        ((5, 64), (8, -8), r"image_shape must be \(height, width\) or \(height, width, channels\), not \(8, -8\)"),
        (
            (5, 8, 8, 3),
            None,
            r"images must be \[N, H, W, 1\], \[N, H, W\] or rows .*; found \[5, 8, 8, 3\]",
        ),
    ],
)
def test_what_is_no_image_is_refused(finished_run: Path, shape: Any, image_shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SSLFeatures(finished_run, image_shape=image_shape).fit(numpy.zeros(shape))


def test_pixels_beyond_their_range_are_told(finished_run: Path, images: Any) -> None:
    with pytest.warns(UserWarning, match="pixels go from 0 to .*, but numbers with a fraction are taken to be 0 to"):
        SSLFeatures(finished_run).fit(images.astype(float))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SSLFeatures(finished_run).fit(images)


class RowFeatures(SSLFeatures):
    """scikit-learn's checks give rows of 1 to 20 numbers: each is taken for an image of one row of pixels."""

    def _declared(self, width: int) -> tuple[int, ...]:
        return 1, width


class RowClusters(SSLClusters):
    """The same."""

    def _declared(self, width: int) -> tuple[int, ...]:
        return 1, width


@pytest.mark.parametrize(
    ("kind", "cannot"),
    [
        (
            RowFeatures,
            {"check_methods_subset_invariance": "float32 sums depend, to 1e-6, on how many images go together"},
        ),
        (RowClusters, {"check_clustering": "the classes are the run's, whatever blobs the check draws"}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(kind: Any, cannot: dict[str, str], finished_run: Path) -> None:
    results = check_estimator(kind(finished_run, device="cpu"), expected_failed_checks=cannot, on_skip=None)
    passed = {result["check_name"] for result in results if result["status"] == "passed"}
    assert len(passed) > 35
    failed = {result["check_name"] for result in results} - passed
    assert failed <= {*cannot, "check_array_api_input"}  # the latter needs SCIPY_ARRAY_API
