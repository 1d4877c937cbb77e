from __future__ import annotations

import json
from pathlib import Path

from evaluation_results import CLUSTER, create_evaluated_run

REFERENCE = Path(__file__).parents[2] / "recipes" / "paper" / "references" / "report-a.toml"


def test_damaged_evaluations_and_provenance_are_left_out_with_notes(cli, tiny: Path, tmp_path: Path) -> None:
    run = create_evaluated_run(tiny, tmp_path / "runs", "mine", {**CLUSTER, "notes": ["other versions"]})
    truncated, no_format = run.evaluations / "truncated.json", run.evaluations / "no-format.json"
    truncated.write_text("{")
    no_format.write_text("{}")
    run.provenance.unlink()
    done = cli("compare", "mine", "--reference", REFERENCE, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["rows"][0] == {"label": run.name, "metrics": {"cluster acc": 0.5, "cluster nmi": 0.25}}
    assert not any("continued_from" in line for line in result["differences"])
    assert done.stderr.splitlines() == [f"note: {note}" for note in result["notes"]]
    for note, (path, reason) in zip(
        result["notes"],
        (
            (no_format, "format is None"),
            (truncated, "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
            (run.provenance, f"unknown whether {run.name} continues another run"),
        ),
        strict=True,
    ):
        assert str(path) in note
        assert reason in note


def test_a_reference_adds_published_rows_and_differences(cli, tiny: Path, tmp_path: Path) -> None:
    run = create_evaluated_run(tiny, tmp_path / "runs", "mine", CLUSTER)
    result = json.loads(cli("compare", "mine", "--reference", REFERENCE, "--json").stdout)
    assert [row["label"] for row in result["rows"]] == [
        run.name,
        "ResNet-18, 1 hidden layer",
        "ResNet-18, 2 hidden layers",
        "AlexNet, 2 hidden layers",
        "AlexNet, continued",
    ]
    assert result["rows"][3]["metrics"] == {
        "cluster acc": 0.465, "cluster nmi": 0.419, "cluster ami": 0.418, "cluster ari": 0.284,
    }  # fmt: skip
    assert f'{run.name}: data.use = "digits", but "cifar10" in every row' in result["differences"]
    assert f'{run.name}: train.epochs = 2, but 200 in "AlexNet, continued"' in result["differences"]
    assert not any("hidden_dims" in line and "1 hidden" in line for line in result["differences"]), "both have none"

    table = cli("compare", "mine", "--reference", REFERENCE, COLUMNS="160").stdout
    assert "0.465" in table
    assert "(KTH)" in table
    assert 'backbone.use = "convnet", but "resnet18" in "ResNet-18, 1 hidden layer" and' in table


def test_an_unusable_reference_exits_with_2(cli, tiny: Path, tmp_path: Path) -> None:
    create_evaluated_run(tiny, tmp_path / "runs", "mine", CLUSTER)
    (tmp_path / "reference.toml").write_text('protocol = "x"\n')
    done = cli("compare", "mine", "--reference", "reference.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "2 problems in the reference reference.toml" in done.stderr
    assert "source: is required" in done.stderr
    assert "rows: is required" in done.stderr
