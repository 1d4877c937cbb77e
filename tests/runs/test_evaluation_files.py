from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from evaluation_results import evaluation_result

from sslkit.runs.evaluation_files import save_evaluation
from sslkit.runs.run import Run


def test_evaluations_keep_their_order_with_a_coarse_or_wrong_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def]
            return cls(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=tz)

    run = Run.create(tmp_path, "a")
    monkeypatch.setattr("sslkit.runs.evaluation_files.datetime", Clock)
    for name in ("20260101-120000-999998-ffff", "99991231-235959-999999-ffff", "own"):
        (run.evaluations / f"{name}.json").write_text("{}")
    saved = [save_evaluation(run, evaluation_result()) for _ in range(20)]
    assert sorted(saved) == saved
    assert min(path.name for path in saved) > "20260101-120000-999998-ffff.json"
