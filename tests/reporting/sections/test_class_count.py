from __future__ import annotations

from pathlib import Path

import torch

from sslkit.features.class_count import propose_class_count
from sslkit.files import to_json
from sslkit.reporting.sections.class_count import class_count
from sslkit.runs.run import Run


def test_scores_of_each_number_of_classes(tmp_path: Path) -> None:
    run, notes = Run(tmp_path), []
    assert class_count(run, notes) is None
    centres = torch.eye(8)[:3].repeat_interleave(30, dim=0)
    features = centres + 0.05 * torch.randn(90, 8, generator=torch.Generator().manual_seed(0))
    proposal = propose_class_count(features, candidates=[2, 3, 4])
    run.class_count.write_text(to_json(proposal.as_json()))
    found = class_count(run, notes)
    assert notes == []
    assert [row[0] for row in found["table"].rows if "proposed" in row[0]] == ["3 proposed"]
    assert found["table"].rows[1][1] == f"{proposal.candidates[1].silhouette:.3f}"
    assert found["table"].rows[1][-1] == f"{proposal.candidates[1].combined:.3f}"
    assert f"{proposal.low} to {proposal.high} are plausible" in found["note"]
    assert found["reasons"] == list(proposal.reasons)

    for content in ("{}", "[", "[" * 100_000):
        run.class_count.write_text(content)
        assert class_count(run, notes) is None
        assert "class_count.json is left out: " in notes.pop()
