"""Pages, as their content says; how a browser takes them is tested in ``test_browser``."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from evaluation_results import evaluation_result
from PIL import Image

from sslkit import Run
from sslkit.contracts.dataset import Split
from sslkit.data.store import TensorStore
from sslkit.evaluation.discovered import Discovered
from sslkit.evaluation.subject import RunSubject
from sslkit.reporting import chart_style as drawing
from sslkit.reporting.encoded_split import Findings
from sslkit.reporting.page_elements import Gallery
from sslkit.reporting.report_page import write_report
from sslkit.reporting.sections import classes as discoveries
from sslkit.reporting.sections import run as run_section
from sslkit.reporting.sections.classes import confusion
from sslkit.runs.class_names import write_class_names
from sslkit.runs.evaluation_files import read_evaluations

pytestmark = pytest.mark.usefixtures("cache")

HARMLESS = ('<b>cat & "co"', r"dog\u202egod\n\x1b[31m")


@pytest.fixture(scope="module")
def page(labelled: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_class_names(labelled, ("<u>n\u202eamed", "", "<u>n\u202eamed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(labelled.path.parents[2] / "cache"))
        out, notes = write_report([labelled], folder / "new" / "page.html", figures=folder / "figures")
    (labelled.path / "classes.toml").unlink()
    assert notes == ()
    return out


def test_figures_are_those_of_the_evaluation(page: Path, labelled: Run, parse) -> None:
    ((evaluation,), _) = read_evaluations(labelled)
    found = parse(page)
    cluster = evaluation.evaluators["cluster"]
    scored = cluster.metrics
    for row, figures in (("cluster", scored), ("kmeans pixels", cluster.baselines["kmeans_pixels"].metrics)):
        wanted = [figures[name] for name in ("acc", "acc_many_to_one", "nmi", "ami", "ari")]
        assert found.row(row)[1:6] == [f"{value:.3f}" for value in wanted]
    assert found.row("knn")[1] == f"{evaluation.evaluators['knn'].metrics['top1']:.3f}"
    assert found.row("random weights")[1] == f"{cluster.baselines['random_weights'].metrics['acc']:.3f}"
    assert "one-to-one (Hungarian on K x C; unmatched clusters count as wrong)" in found.text
    assert f"right: {scored['acc']:.3f} of all 24 (one-to-one" in found.text

    subject = RunSubject(labelled, "cpu")
    features = subject.features("test")
    assigned = features.logits.argmax(1)
    sizes = assigned.bincount(minlength=3).tolist()
    for place, size in enumerate(sizes):
        assert f"{size} images ({100 * size / 24:.1f} %)" in found.text
        if size:
            counts = features.labels[assigned == place].bincount(minlength=2)
            majority = HARMLESS[int(counts.argmax())]
            assert f"majority label {majority}, purity {100 * int(counts.max()) / size:.1f} %" in found.text
    order = sorted(range(3), key=lambda place: (scored["mapping"][place] is None, scored["mapping"][place] or 0))
    for label, name in enumerate(HARMLESS):
        wanted = [str(int(((assigned == place) & (features.labels == label)).sum())) for place in order]
        assert [row for row in found.rows if row[0] == name and row[1:] == wanted], found.rows


def test_hostile_names_are_shown_and_do_nothing(page: Path, parse) -> None:
    found = parse(page)
    found.check_alone()
    assert not {"b", "u", "i"} & {tag for tag, _ in found.tags}
    assert "<i>root" in found.text
    assert r"Class 0: <u>n\u202eamed" in found.text
    assert "the same name as class 2" in found.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", page.read_text())
    told = {attributes["alt"] for attributes in found.all("img")}
    assert any(
        re.search(r"label dog\\u202egod\\n\\x1b\[31m, .*<img src=x onerror=alert\(3\)>\\u2067\\n\.png", text)
        for text in told
    )
    drawn = page.read_text().partition("Confusion matrix")[2].partition("</svg>")[0]
    assert "&lt;b&gt;cat &amp;" in drawn


def test_only_its_own_script_may_run(page: Path, parse) -> None:
    found = parse(page)
    (policy,) = found.all("meta", **{"http-equiv": "Content-Security-Policy"})
    kinds = dict(found.scripts)
    assert set(kinds) == {"", "application/json"}
    digest = b64encode(sha256(kinds[""].encode()).digest()).decode()
    assert policy["content"] == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    data = json.loads(kinds["application/json"])
    assert len(data["points"]) == len(data["texts"]) == 24
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in data["points"])


def test_curves_grids_and_their_files(page: Path, labelled: Run, parse) -> None:
    found = parse(page)
    told = [attributes["aria-label"] for attributes in found.all("div", role="img")]
    losses = [row.value for row in labelled.history() if row.metric == "epoch_loss"]
    (loss,) = [text for text in told if text.startswith("Loss. ")]
    assert f"from {losses[0]:.4g} to {losses[-1]:.4g}" in loss
    assert "ln K is 1.099" in loss
    assert {text.partition(".")[0] for text in told} >= {"Measured while training", "Learning rate", "Throughput"}
    ((evaluation,), _) = read_evaluations(labelled)
    probe = evaluation.evaluators["linear-sgd"].metrics["curves"]
    for what in ("loss", "top1"):
        (text,) = [text for text in told if text.startswith(f"linear-sgd: {what}. ")]
        for whose in ("train", "validation"):
            values = [row[f"{whose}_{what}"] for row in probe]
            assert f"{whose}: from {values[0]:.4g} to {values[-1]:.4g}, between" in text

    for title in ("Class sizes against the uniform prior", "Confusion matrix after matching"):
        assert any(text.startswith(title) for text in told)
    tiles = [attributes for attributes in found.all("img") if ", which differs" in attributes["alt"]]
    assert len(tiles) == len(found.all("li", class_="differs"))
    assert page.stat().st_size < 1_000_000

    figures = page.parents[1] / "figures"
    names = {path.name for path in figures.iterdir()}
    charts = {"loss", "measured", "lr", "class-sizes", "confusion", "map", "evaluation-2-0-loss"}
    assert names >= {f"{chart}.{kind}" for chart in charts for kind in ("svg", "png")}
    for path in figures.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    largest = next(path for path in sorted(figures.glob("class-*-most-confident.png")))
    with Image.open(largest) as image:
        assert image.height % 10 == 8, "rows of 8 pixels with two between"


def test_the_confusion_matrix_has_its_columns_in_the_order_of_the_matching() -> None:
    labels = torch.tensor([0] * 2 + [1] * 3 + [2] * 4)
    logits = torch.nn.functional.one_hot(torch.tensor([2] * 2 + [0] * 3 + [1] * 4), 4).float()
    found: Any = SimpleNamespace(name="test", class_names=("a", "b", "c"))
    gallery: Any = SimpleNamespace(chart=lambda *_, **__: None)
    table = confusion(found, Discovered.of(logits, labels, 3), ["", "", "named", ""], gallery)["numbers"]
    assert table.columns == ("label", "named", "0", "1", "3")
    assert table.rows == [("a", "2", "0", "0", "0"), ("b", "0", "3", "0", "0"), ("c", "0", "0", "4", "0")]


def test_of_very_many_classes_shares_are_of_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.arange(200) % 2
    logits = torch.nn.functional.one_hot(torch.arange(200) // 2, 100).float()
    shown: list[Any] = []
    monkeypatch.setattr(discoveries.figures, "confusion", lambda *arguments: shown.extend(arguments))
    found: Any = SimpleNamespace(name="test", class_names=("a", "b"))
    told: list[str] = []
    gallery: Any = SimpleNamespace(chart=lambda *_, caption: told.append(caption))
    confusion(found, Discovered.of(logits, labels, 2), [""] * 100, gallery)
    counts, totals, *_ = shown
    assert [len(row) for row in counts] == [4, 4]
    assert totals == [100, 100]
    assert "columns 4 of 100 discovered classes" in told[0]


def found_in(features: torch.Tensor, labels: torch.Tensor | None = None) -> Findings:
    images = TensorStore(torch.zeros(len(features), 1, 8, 8, dtype=torch.uint8))
    return Findings("test", Split(images, labels), features, ("a", "b"), None, (), 0)


def test_neighbours_are_the_nearest_by_cosine_and_marked_where_they_differ() -> None:
    features = torch.tensor([[1.0, 0], [1, 0.1], [50, 50], [-1, 0]])
    found = found_in(features, torch.tensor([0, 0, 1, 1]))
    assert found.neighbours()[0] == (0, [1, 2, 3])
    assert [tile["differs"] for tile in discoveries.neighbours(found)[0][1]] == [False, True, True]


def test_the_map_shows_the_points_of_the_images_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_in(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))
    shown: list[Any] = []
    honest = discoveries.figures.scatter
    monkeypatch.setattr(discoveries, "MAP_IMAGES", 5)
    monkeypatch.setattr(
        discoveries.figures, "scatter", lambda points, *rest: shown.append(points) or honest(points, *rest)
    )
    texts = discoveries.plane(found, [], Gallery("x"))["data"]["texts"]
    places = found.sample(5)
    assert texts == [f"test image {place}" for place in places.tolist()]
    assert (shown[0] == found.projection()[0][places].numpy()).all()


def test_cards_show_the_ends_of_confidence_and_the_largest_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.zeros(60, 2)
    logits[:, 0] = torch.arange(60, 0, -1) / 10
    monkeypatch.setattr(discoveries, "tiles", lambda found, places, differs=None: places.tolist())
    nobody: Any = SimpleNamespace(class_names=(), split=SimpleNamespace(images=None))
    first, _ = discoveries.cards(nobody, Discovered.of(logits, None, 0), ["", ""], Gallery("x"))
    assert (first["most"], first["least"]) == (list(range(20)), list(range(59, 39, -1)))
    monkeypatch.setattr(discoveries, "MOST_CLASSES", 2)
    sizes = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 2, 2, 2])).float()
    assert discoveries.shown_classes(Discovered.of(sizes, None, 0)) == [1, 2]


def test_the_first_numbers_stand_beside_pixels() -> None:
    baselines = {"kmeans_pixels": {"metrics": {"acc": 0.25}}, "kmeans_features": {"metrics": {"acc": 0.125}}}
    result = evaluation_result(cluster={"metrics": {"acc": 0.5}, "baselines": baselines}).evaluators["cluster"]
    assert run_section._numbers_first({"cluster": ("cluster", result)})[0]["beside"] == "k-means on pixels: 0.250"


def test_the_pairs_most_often_confused_come_first() -> None:
    labels = torch.tensor([0] * 9 + [1] * 9)
    assigned = torch.tensor([0] * 8 + [1] + [0] * 3 + [1] * 6)
    found: Any = SimpleNamespace(name="test", class_names=("a", "b"))
    gallery: Any = SimpleNamespace(chart=lambda *_, **__: None)
    logits = torch.nn.functional.one_hot(assigned).float()
    table = confusion(found, Discovered.of(logits, labels, 2), ["", ""], gallery)["confusions"]
    assert table.rows == [("0", "a", "b", "3"), ("1", "b", "a", "1")]


def test_without_labels_all_is_shown_that_can_be(unlabelled: Run, parse, tmp_path: Path) -> None:
    out, notes = write_report([unlabelled], tmp_path / "page.html")
    assert notes == ()
    found = parse(out)
    found.check_alone()
    assert "3 classes, on 24 train images, which it was trained on: there are no test images" in found.text
    assert "majority label" not in found.text
    assert "≠" not in found.text
    assert "Discovered classes against labels" not in found.text
    for shown in ("Class sizes against the uniform prior", "The features on a plane", "Nearest neighbours"):
        assert shown in found.text
    assert f"It has not been evaluated: sslkit eval {unlabelled.path} --cluster" in found.text
    sizes = [int(count) for count in re.findall(r"Class \d+ (\d+) images \(", found.text)]
    assert sum(sizes) == 24
    classes = sum(min(size, 40) for size in sizes)
    queries = sum(size > 0 for size in sizes)
    assert len(found.all("img")) == classes + queries * 9


def test_several_runs_however_far_they_got(
    labelled: Run, unlabelled: Run, parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "save", lambda figure, folder, name: (folder / name).touch())
    unfinished, homeless = (Run(tmp_path / "runs" / name / "1") for name in ("unfinished", "homeless"))
    shutil.copytree(labelled.path, unfinished.path)
    unfinished.backbone.unlink()
    unfinished.write_status("interrupted", 5, 10, 1, 2)
    (unfinished.evaluations / "torn.json").write_text("{")
    shutil.copytree(unlabelled.path, homeless.path)
    homeless.recipe.write_text(re.sub("(?m)^root = .*", 'root = "/nowhere"', unlabelled.recipe.read_text()))
    out, notes = write_report([unfinished, homeless], figures=tmp_path / "figures", reference="report-a")
    assert out == unfinished.path / "comparison.html"
    assert notes == (
        f"unfinished/1: {unfinished.evaluations / 'torn.json'} is left out: it cannot be read: Expecting property name "
        "enclosed in double quotes: line 1 column 2 (char 1)",
        "homeless/1: the images and what the network makes of them cannot be shown: the image folder /nowhere does "
        f"not exist (a relative root is taken from {Path.cwd()})",
    )
    found = parse(out)
    found.check_alone()
    assert "The run is interrupted: classes, map and neighbours are shown once it has finished." in found.text
    ((evaluation,), _) = read_evaluations(labelled)
    assert found.row("cluster acc")[1] == f"{evaluation.evaluators['cluster'].metrics['acc']:.3f}"
    assert "Not evaluated: homeless/1." in found.text
    roots = [row for row in found.rows if row[0] == "data root"]
    assert [row[2] for row in roots] == ["/nowhere"]
    assert not [row for row in found.rows if row[0] == "train epochs"], "what is the same is left out"
    told = [attributes["aria-label"] for attributes in found.all("div", role="img")]
    (loss,) = [text for text in told if text.startswith("Loss, mean of the epoch. ")]
    assert "unfinished/1: from " in loss
    assert "; homeless/1: from " in loss
    assert "0.520" in found.row("AlexNet, continued"), "published figures stand beside the run's own"
    assert "unfinished/1: data.use is 'image-folder', 'cifar10' in every row" in found.text
    folders = {path.name for path in (tmp_path / "figures").iterdir() if path.is_dir()}
    assert folders == {"0-unfinished-1", "1-homeless-1"}
