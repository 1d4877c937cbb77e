"""Published results: the shipped files, comparisons with runs, and errors in a file of published results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation_results import PROVENANCE, create_evaluated_run, evaluation_json

from sslkit.errors import RecipeError
from sslkit.reporting.compare import compare
from sslkit.reporting.references import read_reference

PAPER = Path(__file__).parents[2] / "recipes" / "paper"
REFERENCES = {path.stem: read_reference(path) for path in (PAPER / "references").glob("*.toml")}

PROTOCOLS = {
    "cluster": {"split": "test", "images": 10_000, "clusters": 10, "assigned_by": "argmax of logits"},
    "linear": {"split": "test", "images": 10_000, "train_images": 50_000, "probe": "logistic regression"},
    "linear-sgd": {"split": "test", "images": 10_000, "train_images": 45_000, "epochs": 100, "batch_size": 64},
    "finetune": {"split": "test", "images": 10_000, "train_images": 50_000, "epochs": 50},
}


def as_published(*evaluators: str) -> dict[str, object]:
    """Return an evaluation with the published protocol."""
    metrics = {"acc": 0.5} if evaluators == ("cluster",) else {"top1": 0.5, "fractions": {"0.1": {"top1": 0.25}}}
    return evaluation_json(**{name: {"metrics": metrics, "protocol": PROTOCOLS[name]} for name in evaluators})


@pytest.mark.parametrize(
    ("recipe", "report", "evaluator", "row"),
    [
        ("selfcls-resnet18-1-hidden", "report-a", "cluster", "ResNet-18, 1 hidden layer"),
        ("selfcls-resnet18-2-hidden", "report-a", "cluster", "ResNet-18, 2 hidden layers"),
        ("selfcls-alexnet", "report-a", "cluster", "AlexNet, 2 hidden layers"),
        ("swav-augmentation-1", "report-b", "finetune", "augmentation 1: flip, colour jitter"),
        ("swav-augmentation-2", "report-b", "finetune", "augmentation 2: flip"),
    ],
)
def test_a_run_of_a_paper_recipe_matches_its_row_and_no_other(
    tmp_path: Path, recipe: str, report: str, evaluator: str, row: str
) -> None:
    run = create_evaluated_run(PAPER / f"{recipe}.toml", tmp_path, "a", as_published(evaluator))
    differences = compare([run], REFERENCES[report])["differences"]
    assert not [line for line in differences if f'"{row}"' in line]
    others = [other for other in REFERENCES[report].rows if other.label != row]
    assert all(any(f'"{other.label}"' in line for line in differences) for other in others)
    assert not any("every row" in line for line in differences)


@pytest.mark.parametrize(
    ("recipe", "setting", "difference"),
    [
        ("selfcls-alexnet", "loss.row_temperature=0.2", "loss.row_temperature = 0.2, but 0.1"),
        ("selfcls-alexnet", "loss.column_temperature=0.1", "loss.column_temperature = 0.1, but 0.05"),
        ("selfcls-alexnet", "head.embedding_dim=64", "head.embedding_dim = 64, but 128"),
        ("selfcls-alexnet", "head.classifiers=[10, 20]", "head.classifiers = [10, 20], but [10]"),
        ("selfcls-alexnet", "optimizer={use='sgd', lr=0.1}", 'optimizer.use = "sgd", but "lars"'),
        ("selfcls-alexnet", "optimizer.schedule=constant", 'optimizer.schedule = "constant", but "cosine"'),
        ("swav-augmentation-1", "head.prototypes=[300]", "head.prototypes = [300], but [3000]"),
        ("swav-augmentation-1", "head.hidden_dim=64", 'head.hidden_dim = 64, but "linear"'),
        ("swav-augmentation-1", "optimizer.lr=0.6", "optimizer.lr = 0.6, but 0.001"),
        ("swav-augmentation-1", "views.views=3", "views.views = 3, but 2"),
        ("swav-augmentation-1", "views.jitter_p=0.0", "views.jitter_p = 0.0, but above 0"),
        ("swav-augmentation-2", "views.jitter_p=0.8", "views.jitter_p = 0.8, but 0.0"),
        ("swav-augmentation-2", "views={use='crops'}", "views.jitter_p = 0.8, but 0.0"),
        ("swav-augmentation-2", "views={use='crops'}", 'views.use = "crops", but "flip"'),
    ],
)  # fmt: skip
def test_each_published_setting_is_compared(tmp_path: Path, recipe: str, setting: str, difference: str) -> None:
    report, evaluator = ("report-a", "cluster") if recipe.startswith("selfcls") else ("report-b", "finetune")
    run = create_evaluated_run(PAPER / f"{recipe}.toml", tmp_path, "a", as_published(evaluator), settings=(setting,))
    differences = compare([run], REFERENCES[report])["differences"]
    assert any(line.startswith(f"{run.name}: {difference} in ") for line in differences)
    assert not any("not set" in line for line in differences), "options that only another component has are ignored"


def test_an_alias_shows_a_published_metric_with_the_difference_in_protocol(tmp_path: Path) -> None:
    row = '"ResNet-18, 1 hidden layer"'
    probe = f'probe = "logistic regression", but "{REFERENCES["report-a"].protocols["linear"]["probe"]}" in {row}'
    assert "trained for 100 epochs by SGD with LARS" in probe
    assert "no held-out part is mentioned" in REFERENCES["report-a"].protocol
    recipe = PAPER / "selfcls-resnet18-1-hidden.toml"
    run = create_evaluated_run(recipe, tmp_path, "a", as_published("linear"))
    result = compare([run], REFERENCES["report-a"])
    assert result["rows"][1]["metrics"]["linear top1"] == 0.8789
    assert "linear-sgd top1" not in result["rows"][1]["metrics"]
    assert result["differences"] == [f"{run.name}: linear: {probe}"]

    run = create_evaluated_run(recipe, tmp_path, "b", as_published("linear", "linear-sgd"))
    result = compare([run], REFERENCES["report-a"])
    metrics = result["rows"][1]["metrics"]
    assert metrics["linear top1"] == metrics["linear-sgd top1"] == 0.8789
    assert sorted(result["differences"]) == [
        f"{run.name}: linear-sgd: train_images = 45000, but 50000 in {row}",
        f"{run.name}: linear: {probe}",
    ]


def test_a_run_that_continues_another_has_the_epochs_of_both(tmp_path: Path) -> None:
    run = create_evaluated_run(PAPER / "selfcls-alexnet.toml", tmp_path, "a", as_published("cluster"))
    parent = {"run": "parent/1", "steps": 78_100, "epochs": 100}
    run.provenance.write_text(json.dumps({**PROVENANCE, "continued_from": parent}))
    differences = compare([run], REFERENCES["report-a"])["differences"]
    assert not any("AlexNet, continued" in line for line in differences)
    rows = '"ResNet-18, 1 hidden layer" and "ResNet-18, 2 hidden layers" and "AlexNet, 2 hidden layers"'
    assert f"{run.name}: train.epochs = 200, but 100 in {rows}" in differences
    assert f"{run.name}: continued_from.epochs = 100, but 0 in {rows}" in differences


def test_the_shipped_references_hold_the_published_metrics() -> None:
    assert REFERENCES.keys() == {"report-a", "report-b"}
    for reference in REFERENCES.values():
        for row in reference.rows:
            assert all(0 < value < 1 for value in row.metrics.values())
    first, second = REFERENCES["report-b"].rows
    assert first.metrics["finetune 40 % top5"] == 0.5584
    assert second.metrics["finetune 1 % top1"] == 0.0472


INVALID = """\
sourc = "x"
protocol = 3

[settings]
data = 3
train.epochs = { a = 1 }

[[rows]]
label = "a"
metrics = { "cluster acc" = 68.7 }
"""


def test_all_problems_of_a_reference_are_reported_with_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "reference.toml"
    path.write_text(INVALID)
    with pytest.raises(RecipeError, match=r"6 problems in the reference .*reference\.toml") as error:
        read_reference(path)
    problems = {(problem.line, problem.key): str(problem) for problem in error.value.problems}
    assert problems.keys() == {
        (0, "source"),
        (1, "sourc"),
        (2, "protocol"),
        (5, "settings.data"),
        (6, "settings.train.epochs"),
        (10, "rows.0.metrics.cluster acc"),
    }
    assert "did you mean 'source'" in problems[1, "sourc"]
    assert "must be a string, a number, a boolean or a list of these" in problems[6, "settings.train.epochs"]
    assert "less than or equal to 1, found 68.7" in problems[10, "rows.0.metrics.cluster acc"]


def test_a_missing_reference_is_reported_with_the_files_that_exist(tmp_path: Path) -> None:
    (tmp_path / "report.toml").write_text("")
    with pytest.raises(RecipeError, match=r"reference .*repport\.toml(.|\n)*no such file.*report\.toml"):
        read_reference(tmp_path / "repport.toml")
