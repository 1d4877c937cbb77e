"""The PCA map equals that of scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA

from sslkit.data.splits import evenly_spaced_indices
from sslkit.explore import feature_map
from sslkit.explore.feature_map import pca_map


def test_the_map_shows_the_first_two_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_map, "BLOCK", 7)
    monkeypatch.setattr(feature_map, "FITTED", 40)
    features = torch.randn(80, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 2, 3, 1, 5, 1.0]) + 9
    points = pca_map(features)
    assert points.shape == (80, 2)
    assert points.abs().max() == 1
    torch.testing.assert_close(points.amax(0), -points.amin(0))
    fitted = PCA(2, svd_solver="covariance_eigh").fit(features[evenly_spaced_indices(80, 40)])
    expected = torch.from_numpy(fitted.transform(features)).float()
    middle = (expected.amax(0) + expected.amin(0)) / 2
    torch.testing.assert_close(points, (expected - middle) / (expected - middle).abs().max(), atol=1e-4, rtol=0)
    torch.testing.assert_close(pca_map(features[:, :1]), torch.zeros(80, 2))
