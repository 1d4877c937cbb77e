"""Content of the report page; ``test_pages_in_browser`` tests its behaviour."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from parsed_page import ParsedPage
from PIL import Image

from sslkit import Run
from sslkit.data.datasets.folder.content_hash import file_hash
from sslkit.evaluation.clustering_metrics import cluster_scores
from sslkit.evaluation.run_subject import RunSubject
from sslkit.reporting import page_elements
from sslkit.reporting.report_page import write_report
from sslkit.runs.class_names import write_class_names
from sslkit.runs.corrections import CorrectionsLog, Row
from sslkit.runs.evaluation_files import read_evaluations

pytestmark = pytest.mark.usefixtures("shared_cache")

REFERENCE = Path(__file__).parents[2] / "recipes" / "paper" / "references" / "report-a.toml"

ESCAPED_NAMES = ('<b>cat & "co"', r"dog\u202egod\n\x1b[31m")


@pytest.fixture(scope="module")
def page(labelled_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_class_names(labelled_run, ("<u>n\u202eamed", "", "<u>n\u202eamed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(labelled_run.path.parents[2] / "cache"))
        out, notes = write_report([labelled_run], folder / "new" / "page.html", figures=folder / "figures")
    (labelled_run.path / "classes.toml").unlink()
    assert notes == ()
    return out


def test_metrics_match_the_evaluation(page: Path, labelled_run: Run) -> None:
    ((evaluation,), _) = read_evaluations(labelled_run)
    parsed = ParsedPage(page)
    cluster = evaluation.evaluators["cluster"]
    scored = cluster.metrics
    for row, metrics in (("cluster", scored), ("kmeans pixels", cluster.baselines["kmeans_pixels"].metrics)):
        expected = [metrics[name] for name in ("acc", "acc_many_to_one", "nmi", "ami", "ari")]
        assert parsed.row(row)[1:6] == [f"{value:.3f}" for value in expected]
    assert parsed.row("knn")[1] == f"{evaluation.evaluators['knn'].metrics['top1']:.3f}"
    assert parsed.row("random weights")[1] == f"{cluster.baselines['random_weights'].metrics['acc']:.3f}"
    assert "one-to-one (Hungarian on K x C; unmatched clusters count as wrong)" in parsed.text
    assert f"correct ones: {scored['acc']:.3f} of all 24 (one-to-one" in parsed.text

    subject = RunSubject(labelled_run, "cpu")
    features = subject.features("test")
    assigned = features.logits.argmax(1)
    shown = torch.where(assigned == 2, 0, assigned)  # class 2 has the name of class 0
    for number, size in enumerate(shown.bincount(minlength=2).tolist()):
        assert f"{size} images ({100 * size / 24:.1f} %)" in parsed.text
        if size:
            counts = features.labels[shown == number].bincount(minlength=2)
            majority = ESCAPED_NAMES[int(counts.argmax())]
            assert f"majority label {majority}, purity {100 * int(counts.max()) / size:.1f} %" in parsed.text
    order = sorted(range(3), key=lambda number: (scored["mapping"][number] is None, scored["mapping"][number] or 0))
    for label, name in enumerate(ESCAPED_NAMES):
        expected = [str(int(((assigned == number) & (features.labels == label)).sum())) for number in order]
        assert [row for row in parsed.rows if row[0] == name and row[1:] == expected], parsed.rows


def test_the_verdict_comes_first_then_the_classes_and_the_setup_last(page: Path, labelled_run: Run) -> None:
    ((evaluation,), _) = read_evaluations(labelled_run)
    cluster = evaluation.evaluators["cluster"]
    text = ParsedPage(page).text
    titles = [
        f"accuracy {cluster.metrics['acc']:.3f} instead of",
        "cluster accuracy, one-to-one",
        f"{cluster.baselines['kmeans_features'].metrics['acc']:.3f} k-means on the same features",
        "Most confident",
        "Confusion matrix after matching",
        "First two principal components".lower(),
        "similar features (cosine), nearest first",
        "of near-duplicates",
        "Validation metrics during training",
        "Protocol of cluster",
        "Complete recipe",
        "component backbone",
    ]
    positions = [text.index(title) for title in titles]
    assert positions == sorted(positions)


def test_malicious_names_are_escaped(page: Path) -> None:
    parsed = ParsedPage(page)
    parsed.require_self_contained()
    assert not {"b", "u", "i"} & {tag for tag, _ in parsed.elements}
    assert "<i>root" in parsed.text
    assert r"Class 0: <u>n\u202eamed" in parsed.text
    assert "merged with class 2" in parsed.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", page.read_text())
    descriptions = {attributes["alt"] for attributes in parsed.all("img")}
    assert any(
        re.search(r"label dog\\u202egod\\n\\x1b\[31m, .*<img src=x onerror=alert\(3\)>\\u2067\\n\.png", text)
        for text in descriptions
    )
    drawn = page.read_text().partition("Confusion matrix")[2].partition("</svg>")[0]
    assert "&lt;b&gt;cat &amp;" in drawn


def test_the_policy_allows_only_the_pages_own_script(page: Path) -> None:
    parsed = ParsedPage(page)
    (policy,) = parsed.all("meta", **{"http-equiv": "Content-Security-Policy"})
    scripts = dict(parsed.scripts)
    assert set(scripts) == {"", "application/json"}
    digest = b64encode(sha256(scripts[""].encode()).digest()).decode()
    assert policy["content"] == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    data = json.loads(scripts["application/json"])
    assert len(data["points"]) == len(data["texts"]) == 24 + 36, "test images and training images"
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in data["points"])


def test_charts_and_grids_are_in_the_page_and_written_as_files(page: Path, labelled_run: Run) -> None:
    parsed = ParsedPage(page)
    descriptions = [attributes["aria-label"] for attributes in parsed.all("div", role="img")]
    losses = [row.value for row in labelled_run.read_metrics() if row.metric == "epoch_loss"]
    (loss,) = [text for text in descriptions if text.startswith("Loss. ")]
    assert f"from {losses[0]:.4g} to {losses[-1]:.4g}" in loss
    assert "ln K is 1.099" in loss
    assert {text.partition(".")[0] for text in descriptions} >= {
        "Validation metrics during training",
        "Learning rate",
        "Throughput",
    }
    ((evaluation,), _) = read_evaluations(labelled_run)
    probe = evaluation.evaluators["linear-sgd"].metrics["curves"]
    for metric in ("loss", "top1"):
        (text,) = [text for text in descriptions if text.startswith(f"linear-sgd: {metric}. ")]
        for split in ("train", "validation"):
            values = [row[f"{split}_{metric}"] for row in probe]
            assert f"{split}: from {values[0]:.4g} to {values[-1]:.4g}, between" in text

    for title in ("Class sizes compared with the uniform prior", "Confusion matrix after matching"):
        assert any(text.startswith(title) for text in descriptions)
    tiles = [attributes for attributes in parsed.all("img") if ", different label" in attributes["alt"]]
    assert len(tiles) == len(parsed.all("li", class_="differs"))
    assert page.stat().st_size < 1_000_000

    figures = page.parents[1] / "figures"
    names = {path.name for path in figures.iterdir()}
    charts = {"loss", "validation", "lr", "class-sizes", "confusion", "map", "evaluation-2-0-loss"}
    assert names >= {f"{chart}.{kind}" for chart in charts for kind in ("svg", "png")}
    for path in figures.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    largest = next(path for path in sorted(figures.glob("class-*-most-confident.png")))
    with Image.open(largest) as image:
        assert image.height % 10 == 8, "rows of 8 pixels with gaps of 2"


def test_the_page_of_a_run_without_labels(unlabelled_run: Run, tmp_path: Path) -> None:
    out, notes = write_report([unlabelled_run], tmp_path / "page.html")
    assert notes == ()
    parsed = ParsedPage(out)
    parsed.require_self_contained()
    assert "3 classes, on 24 train images, which the run was trained on" in parsed.text
    assert "majority label" not in parsed.text
    assert "≠" not in parsed.text
    assert "Classes compared with labels" not in parsed.text
    assert "There are no labels, so no metric can show" in parsed.text
    for shown in ("Class sizes compared with the uniform prior", "Map of the features", "Nearest neighbours"):
        assert shown in parsed.text
    assert f"not been evaluated. To evaluate it, run sslkit eval {unlabelled_run.path} --cluster" in parsed.text
    sizes = [int(count) for count in re.findall(r"Class \d+ (\d+) images \(", parsed.text)]
    assert sum(sizes) == 24
    classes = sum(min(size, 40) for size in sizes)
    queries = sum(size > 0 for size in sizes)
    assert len(parsed.all("img")) == classes + queries * 9


def test_several_runs_may_be_unfinished_or_without_images(
    labelled_run: Run, unlabelled_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_elements, "save_figure", lambda figure, folder, name: (folder / name).touch())
    unfinished, without_images = (Run(tmp_path / "runs" / name / "1") for name in ("unfinished", "without_images"))
    shutil.copytree(labelled_run.path, unfinished.path)
    unfinished.backbone.unlink()
    unfinished.write_status("interrupted", 5, 10, 1, 2)
    (unfinished.evaluations / "damaged.json").write_text("{")
    shutil.copytree(unlabelled_run.path, without_images.path)
    without_images.recipe.write_text(re.sub("(?m)^root = .*", 'root = "/nowhere"', unlabelled_run.recipe.read_text()))
    out, notes = write_report([unfinished, without_images], figures=tmp_path / "figures", reference=REFERENCE)
    assert out == unfinished.path / "comparison.html"
    assert notes == (
        f"unfinished/1: {unfinished.evaluations / 'damaged.json'} is left out: it cannot be read: Expecting property "
        "name enclosed in double quotes: line 1 column 2 (char 1)",
        "without_images/1: classes, map and neighbours cannot be shown: the image folder /nowhere does "
        f"not exist (relative paths start at the working directory, {Path.cwd()})",
    )
    parsed = ParsedPage(out)
    parsed.require_self_contained()
    assert "The run is interrupted. Classes, map and neighbours are shown once it has finished." in parsed.text
    ((evaluation,), _) = read_evaluations(labelled_run)
    assert parsed.row("cluster acc")[1] == f"{evaluation.evaluators['cluster'].metrics['acc']:.3f}"
    assert "Not evaluated: without_images/1." in parsed.text
    roots = [row for row in parsed.rows if row[0] == "data root"]
    assert [row[2] for row in roots] == ["/nowhere"]
    assert not [row for row in parsed.rows if row[0] == "train epochs"], "settings that are equal are left out"
    descriptions = [attributes["aria-label"] for attributes in parsed.all("div", role="img")]
    (loss,) = [text for text in descriptions if text.startswith("Loss, mean of the epoch. ")]
    assert "unfinished/1: from " in loss
    assert "; without_images/1: from " in loss
    assert "0.520" in parsed.row("AlexNet, continued"), "published metrics are next to the run's own"
    assert 'unfinished/1: data.use = "image-folder", but "cifar10" in every row' in parsed.text
    folders = {path.name for path in (tmp_path / "figures").iterdir() if path.is_dir()}
    assert folders == {"0-unfinished-1", "1-without_images-1"}


def test_classes_are_compared_with_those_of_runs_on_the_same_images(
    labelled_run: Run, unlabelled_run: Run, train: Callable[..., Run], tmp_path: Path
) -> None:
    root = Path(tomllib.loads(unlabelled_run.recipe.read_text())["data"]["root"])
    again = train("again", root)
    out, _ = write_report([unlabelled_run, again, labelled_run], tmp_path / "three.html")
    text = ParsedPage(out).text
    # Three classes of each of the two runs on the same images; labelled_run has other images.
    assert len(re.findall(r"comes back in [01] of 1 other run\b", text)) == 6
    write_report([unlabelled_run], tmp_path / "one.html")
    assert "comes back" not in ParsedPage(tmp_path / "one.html").text


def test_the_report_shows_corrected_classes_next_to_metrics_without_corrections(
    labelled_run: Run, tmp_path: Path
) -> None:
    run = Run(shutil.copytree(labelled_run.path, tmp_path / "runs" / "mine" / "1"))
    subject = RunSubject(run, "cpu")
    assigned, split = subject.features("test").logits.argmax(1), subject.split("test")
    root = subject.dataset.options.root
    contents = [(file_hash(root / file), (root / file).stat().st_size) for file in split.files[:4]]
    log = CorrectionsLog(run.path)
    log.append((Row("move", 5, *contents[0]), Row("outlier", -1, *contents[1]), Row("ignore", -1, *contents[2])))
    log.close()
    write_class_names(run, ("", "", ""), {5: "added <b>"})
    text = ParsedPage(write_report([run], tmp_path / "page.html")[0]).text
    assert "Class 5: added <b> 1 images (4.2 %); added by a user; " in text
    assert "Moved here by a user, 1 in all" in text
    assert "1 image marked as outlier by a user" in text
    assert "1 image ignored by a user" in text
    assert "corrections of 3 of these images by a user (3 in all)" in text
    assert "The corrections have changed since the evaluation." in text
    accuracy = cluster_scores(assigned, split.labels, 3, 2)["acc"]
    assert f"The diagonal holds the correct ones: {accuracy:.3f} of all 24 " in text, "without corrections"
    assert "Confusion matrix after matching, with corrections" in text
    assert " of all 22 " in text
