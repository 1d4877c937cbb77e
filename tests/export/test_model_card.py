from __future__ import annotations

import json
from pathlib import Path

from evaluation_results import evaluation_result

from sslkit.api import Run
from sslkit.runs.class_names import write_class_names
from sslkit.runs.corrections import CorrectionsLog, Row
from sslkit.runs.evaluation_files import save_evaluation
from sslkit.runs.weights_header import read_metadata

NAMES = ("cat", "<b>&`*x*`", "two\nlines", "\x1b[31mred", "\u202egnp.exe", "", "", "", "", "dog")
"""Class names that would be Markdown, HTML or terminal codes if they were not escaped."""


def test_the_card_has_classes_training_and_metrics_without_markup_or_private_paths(run: Run, tmp_path: Path) -> None:
    write_class_names(run, NAMES)
    untrained = {"random_weights": {"metrics": {"top1": 0.25}, "protocol": {"data": "digits", "k": 30}}}
    knn = {"metrics": {"top1": 0.5, "list": [1]}, "protocol": {"data": "digits", "k": 20}, "baselines": untrained}
    save_evaluation(run, evaluation_result(knn=knn))
    for top1, root in ((0.75, "/home/me"), (0.875, "/home/you")):
        protocol = {"data": "digits", "data_options": {"root": root}}
        save_evaluation(run, evaluation_result(knn={"metrics": {"top1": top1}, "protocol": protocol}))
    exported = run.export("safetensors", tmp_path / "digits.safetensors")
    classes = read_metadata(exported.file)["export"]["classes"]
    assert classes["names"] == list(NAMES)
    assert (classes["merged"], classes["corrected_images"]) == (list(range(10)), 0)

    card = exported.card.read_text()
    assert card.replace("\n", "").isprintable()
    assert "- 1: `<b>&'*x*'`\n" in card
    assert "- 2: `'two\\nlines'`\n" in card
    assert "- 9: `dog`\n" in card
    assert "1438 images of 1 x 8 x 8 (channels, height, width), 10 steps, seed 7." in card
    assert "- backbone: `sslkit-backbones:convnet 0.1.0`" in card
    table = "|  | trained | random weights |\n| --- | --- | --- |\n| knn top1 | 0.500 | 0.250 |\n"
    assert f"### knn on digits\n\n{table}" in card
    assert '"k": 20' in card
    assert '"random weights": {\n  "k": 30\n }' in card
    for number, top1 in (("", "0.750"), (" (2)", "0.875")):
        heading = f"### knn on digits, not the run's own data{number}\n\n"
        assert f"{heading}|  | trained |\n| --- | --- |\n| knn top1 | {top1} |\n" in card
    assert "/home" not in card


def test_the_card_counts_corrections_and_merged_classes(run: Run, tmp_path: Path) -> None:
    write_class_names(run, ("cat", "dog", "cat", *[""] * 7))
    log = CorrectionsLog(run.path)
    log.append((Row("move", 2, "2" * 64, 64), Row("outlier", -1, "3" * 64, 64)))  # copied when the head was trained
    log.append((Row("move", 1, "0" * 64, 64), Row("outlier", -1, "1" * 64, 64)))
    log.close()
    provenance = json.loads(run.provenance.read_text()) | {"corrected_from": {"run": "earlier/1", "images": 7}}
    run.provenance.write_text(json.dumps(provenance))
    exported = run.export("safetensors", tmp_path / "digits.safetensors")
    classes = read_metadata(exported.file)["export"]["classes"]
    assert classes["merged"] == [0, 1, 0, *range(3, 10)]
    assert (classes["corrected_images"], classes["trained_with_corrections"]) == (2, 7)
    card = exported.card.read_text()
    assert "trained with corrections that a user made to 7 images" in card
    assert "A user corrected the classes of 2 images, which this network was not trained with." in card
    assert f"`sslkit train --corrections {run.name}`" in card
    assert "so there are 9 classes" in card
