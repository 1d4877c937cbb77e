from __future__ import annotations

from pathlib import Path

import torch

from sslkit.features import typical_images
from sslkit.features.typical_images import load_typical_images, sample_indices, save_typical_images


def test_a_sample_is_random_bounded_and_sorted(monkeypatch) -> None:
    assert torch.equal(sample_indices(7, 0), torch.arange(7))
    monkeypatch.setattr(typical_images, "MAX_IMAGES", 50)
    first = sample_indices(1000, 0)
    assert len(first) == 50
    assert torch.equal(first, first.sort().values.unique())
    assert first.max() > 500
    assert not torch.equal(first, sample_indices(1000, 1))


def test_the_file_has_two_bytes_for_each_value(tmp_path: Path) -> None:
    features = 1e5 * torch.randn(200, 64)  # float16 ends at 65504
    save_typical_images(features, tmp_path / "rows.safetensors")
    assert 200 * 64 * 2 < (tmp_path / "rows.safetensors").stat().st_size < 200 * 64 * 2 + 500
    loaded = load_typical_images(tmp_path / "rows.safetensors", 64)
    torch.testing.assert_close(loaded, torch.nn.functional.normalize(features, dim=1), atol=1e-3, rtol=0)
    assert load_typical_images(tmp_path / "absent.safetensors", 64) is None
