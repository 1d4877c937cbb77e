from __future__ import annotations

import json
from pathlib import Path

import pytest

from sslkit.errors import RunError
from sslkit.recipe.check import load_recipe
from sslkit.reporting.compare import compare, figures_of
from sslkit.reporting.references import REFERENCES
from sslkit.runs import Run


def evaluated(
    tiny: Path, root: Path, name: str, *evaluations: dict[str, object], settings: tuple[str, ...] = ()
) -> Run:
    run = Run.create(root, name)
    run.write_status("finished", 10, 10, 2, 2)
    run.recipe.write_text(load_recipe(tiny, settings).to_toml())
    for number, evaluation in enumerate(evaluations):
        (run.evaluations / f"{number}.json").write_text(json.dumps(evaluation))
    return run


CLUSTER = {"cluster": {"acc": 0.5, "nmi": 0.25}, "protocol": {"cluster": {"images": 10}}, "baselines": {}}
LINEAR = {
    "linear": {"top1": 0.75, "fractions": {"0.01": {"top1": 0.125, "top1_std": 0.0625}}},
    "protocol": {"linear": {"folds": 5, "seeds": 2}},
    "baselines": {},
}


def test_the_newest_figure_of_every_name_counts(tiny: Path, tmp_path: Path) -> None:
    newer = {**CLUSTER, "cluster": {"acc": 0.625}}
    figures, protocols = figures_of(evaluated(tiny, tmp_path, "a", CLUSTER, LINEAR, newer))
    assert figures == {
        "cluster acc": 0.625,
        "cluster nmi": 0.25,
        "linear top1": 0.75,
        "linear 1 % top1": 0.125,
        "linear 1 % top1_std": 0.0625,
    }
    assert protocols["linear"]["folds"] == 5


def test_differences_between_protocols_are_named(tiny: Path, tmp_path: Path) -> None:
    first = evaluated(tiny, tmp_path, "a", LINEAR)
    second = evaluated(tiny, tmp_path, "b", {**LINEAR, "protocol": {"linear": {"folds": 3, "seeds": 2}}})
    assert compare([first, second])["differences"] == [f"linear: folds is 3 in {second.name}, 5 in {first.name}"]


def test_published_rows_come_with_the_differences_in_settings(cli, tiny: Path, tmp_path: Path) -> None:
    run = evaluated(tiny, tmp_path / "runs", "mine", CLUSTER)
    found = json.loads(cli("compare", "mine", "--reference", "report-a", "--json").stdout)
    assert [row["label"] for row in found["rows"]] == [
        run.name,
        *(row.label for row in REFERENCES["report-a"].rows),
    ]
    assert found["rows"][3]["figures"] == {
        "cluster acc": 0.465, "cluster nmi": 0.419, "cluster ami": 0.418, "cluster ari": 0.284,
    }  # fmt: skip
    assert f"{run.name}: data.use is 'digits', 'cifar10' in 'AlexNet, continued'" in found["differences"]
    assert f"{run.name}: train.epochs is 2, 200 in 'AlexNet, continued'" in found["differences"]
    assert not any("hidden_dims" in line and "1 hidden" in line for line in found["differences"]), "both have none"

    table = cli("compare", "mine", "--reference", "report-a", COLUMNS="160").stdout
    assert "0.465" in table
    assert "(KTH)" in table
    assert "backbone.use is 'convnet', 'resnet18' in 'ResNet-18, 1 hidden layer'" in table


def test_a_run_without_figures_is_refused(tiny: Path, tmp_path: Path) -> None:
    run = evaluated(tiny, tmp_path, "a")
    with pytest.raises(RunError, match="has not been evaluated: `sslkit eval "):
        compare([run])


def test_published_figures_are_fractions_of_one() -> None:
    for reference in REFERENCES.values():
        for row in reference.rows:
            assert all(0 < value < 1 for value in row.figures.values())
    (first, second) = REFERENCES["report-b"].rows
    assert first.figures["finetune 40 % top5"] == 0.5584
    assert second.figures["finetune 1 % top1"] == 0.0472
