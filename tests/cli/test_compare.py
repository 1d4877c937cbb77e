from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation_results import evaluation_json

from sslkit.errors import RunError
from sslkit.recipe.load import load_recipe
from sslkit.reporting.compare import compare, measured
from sslkit.reporting.references import REFERENCES
from sslkit.runs.run import Run


def evaluated(
    tiny: Path, root: Path, name: str, *evaluations: dict[str, object], settings: tuple[str, ...] = ()
) -> Run:
    run = Run.create(root, name)
    run.write_status("finished", 10, 10, 2, 2)
    run.recipe.write_text(load_recipe(tiny, settings).to_toml())
    run.provenance.write_text(json.dumps(PROVENANCE))
    for number, evaluation in enumerate(evaluations):
        (run.evaluations / f"{number}.json").write_text(json.dumps(evaluation))
    return run


PROVENANCE = {
    "seed": 0,
    "versions": {},
    "components": {},
    "training_images": 10,
    "image_shape": [3, 32, 32],
    "class_names": [],
    "hardware": {"device": "cpu", "name": "Z80", "threads": 1, "precision": "float32", "channels_last": True},
}

CLUSTER = evaluation_json(cluster={"metrics": {"acc": 0.5, "nmi": 0.25}, "protocol": {"images": 10}})
FEW_LABELS = {"0.01": {"top1": 0.125, "top1_std": 0.0625}}


def linear(metrics: dict[str, object], **protocol: object) -> dict[str, object]:
    return evaluation_json(linear={"metrics": metrics, "protocol": protocol or {"folds": 5, "seeds": 2}})


LINEAR = linear({"top1": 0.75, "fractions": FEW_LABELS})


def test_the_newest_figures_of_every_evaluation_count(tiny: Path, tmp_path: Path) -> None:
    newer = evaluation_json(cluster={"metrics": {"acc": 0.625}})
    found = measured(evaluated(tiny, tmp_path, "a", CLUSTER, LINEAR, newer))
    assert found.figures == {
        "cluster acc": 0.625,
        "linear top1": 0.75,
        "linear 1 % top1": 0.125,
        "linear 1 % top1_std": 0.0625,
    }
    assert found.protocols["linear"]["folds"] == 5


def test_neither_a_deviation_nor_names_are_left_over_from_before(tiny: Path, tmp_path: Path) -> None:
    named = evaluation_json(cluster={"metrics": {"acc": 0.5, "named": {"named_acc": 0.75}}})
    one = linear({"fractions": {"0.01": {"top1": 0.25}}})
    found = measured(evaluated(tiny, tmp_path, "a", named, LINEAR, CLUSTER, one))
    assert found.figures == {
        "cluster acc": 0.5,
        "cluster nmi": 0.25,
        "linear top1": 0.75,
        "linear 1 % top1": 0.25,
    }


def test_differences_between_protocols_are_named(tiny: Path, tmp_path: Path) -> None:
    first = evaluated(tiny, tmp_path, "a", LINEAR)
    second = evaluated(tiny, tmp_path, "b", linear({"top1": 0.75, "fractions": FEW_LABELS}, folds=3, seeds=2))
    assert compare([first, second])["differences"] == [
        f"linear, linear 1 %: folds is 3 in {second.name}, 5 in {first.name}"
    ]


def test_a_figure_has_the_protocol_it_was_obtained_by(tiny: Path, tmp_path: Path) -> None:
    first = linear({"fractions": FEW_LABELS}, folds=3, trainings={"0.01": 2})
    second = linear({"top1": 0.875}, folds=5, trainings={"1": 1})
    found = measured(evaluated(tiny, tmp_path, "a", first, second))
    assert found.figures["linear 1 % top1"] == 0.125
    assert found.protocols == {"linear 1 %": {"folds": 3, "trainings": 2}, "linear": {"folds": 5, "trainings": 1}}


def test_figures_on_other_data_have_a_name_of_their_own(tiny: Path, tmp_path: Path) -> None:
    evaluations = (
        linear({"top1": 0.5}, data="digits"),
        linear({"top1": 0.25}, data="digits", data_options={"size": 16}),
        linear({"top1": 0.125}, data="svhn", data_options={}),
        linear({"top1": 0.0625}, data="cifar10"),
        evaluation_json(segment={"metrics": {"miou": 0.75}, "protocol": {"data": "digit-scenes: on textures"}}),
        evaluation_json(segment={"metrics": {"miou": 0.875}, "protocol": {"data": "the run's own"}}),
    )
    assert measured(evaluated(tiny, tmp_path, "a", *evaluations)).figures == {
        "linear top1": 0.5,
        "linear on digits (size=16) top1": 0.25,
        "linear on svhn top1": 0.125,
        "linear on cifar10 top1": 0.0625,
        "segment on digit-scenes miou": 0.75,
        "segment miou": 0.875,
    }


def test_an_evaluation_with_notes_counts_and_what_is_left_out_is_said(cli, tiny: Path, tmp_path: Path) -> None:
    run = evaluated(tiny, tmp_path / "runs", "mine", {**CLUSTER, "notes": ["something is installed otherwise"]})
    torn, strange = run.evaluations / "torn.json", run.evaluations / "strange.json"
    torn.write_text("{")
    strange.write_text("{}")
    run.provenance.unlink()
    done = cli("compare", "mine", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == [{"label": run.name, "figures": {"cluster acc": 0.5, "cluster nmi": 0.25}}]
    assert found["notes"] == [
        f"{strange} is left out: its format is None, supported is 1: evaluate the run again with `sslkit eval`",
        f"{torn} is left out: it cannot be read: Expecting property name enclosed in double quotes: line 1 column 2 "
        "(char 1)",
        f"whether {run.name} continues another run is not known: {run.provenance} cannot be read: [Errno 2] No such "
        f"file or directory: '{run.provenance}'",
    ]
    assert done.stderr.splitlines() == [f"note: {note}" for note in found["notes"]]
    assert not any("continued_from" in line for line in compare([run], REFERENCES["report-a"])["differences"])


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
    assert f"{run.name}: data.use is 'digits', 'cifar10' in every row" in found["differences"]
    assert f"{run.name}: train.epochs is 2, 200 in 'AlexNet, continued'" in found["differences"]
    assert not any("hidden_dims" in line and "1 hidden" in line for line in found["differences"]), "both have none"

    table = cli("compare", "mine", "--reference", "report-a", COLUMNS="160").stdout
    assert "0.465" in table
    assert "(KTH)" in table
    assert "backbone.use is 'convnet', 'resnet18' in 'ResNet-18, 1 hidden layer' and" in table


PAPER = Path(__file__).parents[2] / "recipes" / "paper"

PUBLISHED = {
    "cluster": {"split": "test", "images": 10_000, "clusters": 10, "assigned_by": "argmax of logits"},
    "linear": {"split": "test", "images": 10_000, "train_images": 50_000, "probe": "logistic regression"},
    "linear-sgd": {"split": "test", "images": 10_000, "train_images": 45_000, "epochs": 100, "batch_size": 64},
    "finetune": {"split": "test", "images": 10_000, "train_images": 50_000, "epochs": 50},
}


def as_published(*names: str) -> dict[str, object]:
    figures = {"acc": 0.5} if names == ("cluster",) else {"top1": 0.5, "fractions": {"0.1": {"top1": 0.25}}}
    return evaluation_json(**{name: {"metrics": figures, "protocol": PUBLISHED[name]} for name in names})


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
def test_a_run_as_published_differs_in_nothing_from_its_row(
    tmp_path: Path, recipe: str, report: str, evaluator: str, row: str
) -> None:
    run = evaluated(PAPER / f"{recipe}.toml", tmp_path, "a", as_published(evaluator))
    differences = compare([run], REFERENCES[report])["differences"]
    assert not [line for line in differences if repr(row) in line]
    # Each of the others differs in something.
    others = [other for other in REFERENCES[report].rows if other.label != row]
    assert all(any(repr(other.label) in line for line in differences) for other in others)
    assert not any("every row" in line for line in differences)


@pytest.mark.parametrize(
    ("recipe", "report", "setting", "said"),
    [
        ("selfcls-alexnet", "report-a", "loss.row_temperature=0.2", "loss.row_temperature is 0.2, 0.1"),
        ("selfcls-alexnet", "report-a", "loss.column_temperature=0.1", "loss.column_temperature is 0.1, 0.05"),
        ("selfcls-alexnet", "report-a", "head.embedding_dim=64", "head.embedding_dim is 64, 128"),
        ("selfcls-alexnet", "report-a", "head.classifiers=[10, 20]", "head.classifiers is [10, 20], [10]"),
        ("selfcls-alexnet", "report-a", "optimizer={use='sgd', lr=0.1}", "optimizer.use is 'sgd', 'lars'"),
        ("selfcls-alexnet", "report-a", "optimizer.schedule=constant", "optimizer.schedule is 'constant', 'cosine'"),
        ("swav-augmentation-1", "report-b", "head.prototypes=[300]", "head.prototypes is [300], [3000]"),
        ("swav-augmentation-1", "report-b", "head.hidden_dim=64", "head.hidden_dim is 64, 'linear'"),
        ("swav-augmentation-1", "report-b", "optimizer.lr=0.6", "optimizer.lr is 0.6, 0.001"),
        ("swav-augmentation-1", "report-b", "views.views=3", "views.views is 3, 2"),
        ("swav-augmentation-1", "report-b", "views.jitter_p=0.0", "views.jitter_p is 0.0, above 0"),
        ("swav-augmentation-2", "report-b", "views.jitter_p=0.8", "views.jitter_p is 0.8, 0.0"),
        ("swav-augmentation-2", "report-b", "views={use='crops'}", "views.jitter_p is 0.8, 0.0"),
        ("swav-augmentation-2", "report-b", "views={use='crops'}", "views.use is 'crops', 'flip'"),
    ],
)  # fmt: skip
def test_each_published_setting_is_compared(tmp_path: Path, recipe: str, report: str, setting: str, said: str) -> None:
    evaluator = "cluster" if report == "report-a" else "finetune"
    run = evaluated(PAPER / f"{recipe}.toml", tmp_path, "a", as_published(evaluator), settings=(setting,))
    differences = compare([run], REFERENCES[report])["differences"]
    assert any(line.startswith(f"{run.name}: {said} in ") for line in differences)
    # What only another part than the run's has is no difference of its own.
    assert not any(" is None" in line for line in differences)


def test_the_published_probe_stands_beside_ours_with_its_protocol_named(tmp_path: Path) -> None:
    row = "'ResNet-18, 1 hidden layer'"
    trained = "one linear layer, trained for 100 epochs by SGD with LARS, cosine, in batches of 64, in "
    part = "50000, as nothing is said of a part held out, in "
    recipe = PAPER / "selfcls-resnet18-1-hidden.toml"
    run = evaluated(recipe, tmp_path, "a", as_published("linear"))
    found = compare([run], REFERENCES["report-a"])
    assert found["rows"][1]["figures"]["linear top1"] == 0.8789
    assert "linear-sgd top1" not in found["rows"][1]["figures"]
    assert found["differences"] == [f"{run.name}: linear: probe is 'logistic regression', {trained}{row}"]

    run = evaluated(recipe, tmp_path, "b", as_published("linear", "linear-sgd"))
    found = compare([run], REFERENCES["report-a"])
    assert found["rows"][1]["figures"]["linear top1"] == found["rows"][1]["figures"]["linear-sgd top1"] == 0.8789
    assert sorted(found["differences"]) == [
        f"{run.name}: linear-sgd: train_images is 45000, {part}{row}",
        f"{run.name}: linear: probe is 'logistic regression', {trained}{row}",
    ]


def test_a_run_that_continues_another_has_the_epochs_of_both(tmp_path: Path) -> None:
    run = evaluated(PAPER / "selfcls-alexnet.toml", tmp_path, "a", as_published("cluster"))
    parent = {"run": "parent/1", "steps": 78_100, "epochs": 100}
    run.provenance.write_text(json.dumps({**PROVENANCE, "continued_from": parent}))
    differences = compare([run], REFERENCES["report-a"])["differences"]
    assert not any("'AlexNet, continued'" in line for line in differences)
    once = "'ResNet-18, 1 hidden layer' and 'ResNet-18, 2 hidden layers' and 'AlexNet, 2 hidden layers'"
    assert f"{run.name}: train.epochs is 200, 100 in {once}" in differences
    assert f"{run.name}: continued_from.epochs is 100, 0 in {once}" in differences


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
