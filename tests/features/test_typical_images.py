from __future__ import annotations

from pathlib import Path

import torch

from sslkit.features import typical_images
from sslkit.features.typical_images import load_typical_images, sample_indices, save_typical_images


def test_a_sample_is_evenly_spaced_and_bounded(monkeypatch) -> None:
    assert torch.equal(sample_indices(7), torch.arange(7))
    monkeypatch.setattr(typical_images, "MAX_IMAGES", 10)
    sample = sample_indices(1000)
    assert len(set(sample.tolist())) == 10
    assert sample[0] < 100 <= 900 <= sample[-1] < 1000
    assert torch.equal(sample, sample.sort().values)


def test_the_file_has_two_bytes_for_each_value(tmp_path: Path) -> None:
    features = 1e5 * torch.randn(200, 64)  # float16 ends at 65504
    save_typical_images(features, tmp_path / "rows.safetensors")
    assert 200 * 64 * 2 < (tmp_path / "rows.safetensors").stat().st_size < 200 * 64 * 2 + 500
    loaded = load_typical_images(tmp_path / "rows.safetensors", 64)
    torch.testing.assert_close(loaded, torch.nn.functional.normalize(features, dim=1), atol=1e-3, rtol=0)
    assert load_typical_images(tmp_path / "absent.safetensors", 64) is None
