from __future__ import annotations

import json
from pathlib import Path


def test_kinds_of_cached_data_are_listed_and_deleted(cli, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for kind in ("features", "image-folder"):
        (cache / kind / "entry").mkdir(parents=True)
        (cache / kind / "entry" / "file").write_bytes(bytes(300_000))
    listed = json.loads(cli("cache", "list", "--json", SSLKIT_CACHE=str(cache)).stdout)
    assert {item["kind"]: item["bytes"] for item in listed} == {
        "features": 300_000,
        "image-folder": 300_000,
        "thumbnails": 0,
        "datasets": 0,
    }
    assert f"deleted 0.3 MB: {cache / 'features'}" in cli("cache", "clear", "features", SSLKIT_CACHE=str(cache)).stdout
    assert [path.name for path in cache.iterdir()] == ["image-folder"]
    table = cli("cache", "list", SSLKIT_CACHE=str(cache)).stdout
    assert "0.3 MB" in table
    assert str(cache) in table
