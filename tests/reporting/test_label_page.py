"""Name discovered classes from the command line and with the page."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked_cli import run_sslkit
from parsed_page import ParsedPage

from sslkit import Run
from sslkit.errors import RunError
from sslkit.evaluation.clustering_metrics import contingency
from sslkit.evaluation.run_subject import RunSubject
from sslkit.reporting import label_page
from sslkit.reporting.label_page import name_classes, write_label_page
from sslkit.runs.class_names import read_class_names

pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.fixture
def run(labelled_run: Run, tmp_path: Path) -> Run:
    """A copy of the run, so that its classes can be named."""
    shutil.copytree(labelled_run.path, tmp_path / "runs" / "mine" / "1")
    return Run(tmp_path / "runs" / "mine" / "1")


def test_the_page_shows_every_class_and_the_file_has_a_line_for_each(run: Run) -> None:
    name_classes(run, {1: ' "quoted" <b>\n'})
    path, names = write_label_page(run)
    assert names == ("", '"quoted" <b>', "")
    assert path == run.path / "label.html"
    assert (run.path / "classes.toml").read_text().endswith('[names]\n0 = ""\n1 = "\\"quoted\\" <b>"\n2 = ""\n')
    page = ParsedPage(path)
    page.require_self_contained()
    inputs = page.all("input")
    assert [(own["aria-label"], own["value"]) for own in inputs] == [
        ("Name of class 0", ""),
        ("Name of class 1", '"quoted" <b>'),
        ("Name of class 2", ""),
    ]
    assert len(page.all("img")) == 24, "each test image is among the most or the least confident of its class"
    features = RunSubject(run, "cpu").features("test")
    table = contingency(features.logits.argmax(1), features.labels, 3, 2)
    for image in page.all("img"):
        number, label = int(image["alt"].split()[1].strip(",")), int("label dog" in image["alt"])
        assert image["alt"].endswith(", different label") == (label != table[number].argmax())
    (bar,) = page.all("div", class_="bar no-print")
    assert bar["data-run"] == str(run.path)


def test_the_command_keeps_the_names_that_it_does_not_set(run: Run, tmp_path: Path) -> None:
    def sslkit(*arguments: str):
        return run_sslkit(["label", str(run.path), *arguments], {"COLUMNS": "100", "OMP_NUM_THREADS": "1"}, tmp_path)

    (run.path / "classes.toml").write_text('[names]\n0 = "cat"\n')
    name_classes(run, {1: "cat"})
    done = sslkit("--set", "1=", "--set", "2=[red]\x1b[31mdog = wolf")
    assert done.returncode == 0, done.stderr
    assert read_class_names(run, 3) == ("cat", "", "[red]\x1b[31mdog = wolf")
    assert r"[red]\x1b[31mdog = wolf" in done.stdout
    done = sslkit("--set", "3=bird")
    assert (done.returncode, done.stderr) == (2, "error: there is no class 3; the classes of mine/1 are 0 to 2\n")
    assert "--set takes CLASS=NAME, such as 0=cat, not 'cat=0'" in sslkit("--set", "cat=0").stderr
    (run.path / "classes.toml").write_text("[names]\n0 = 7\n")
    done = sslkit("--set", "1=bird")
    assert done.returncode == 2
    assert "classes.toml:2: the name of class 0 must be a string" in done.stderr
    assert (run.path / "classes.toml").read_text() == "[names]\n0 = 7\n"


def test_a_run_without_classes_or_weights_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_page, "TrainedNetwork", lambda run, device: SimpleNamespace(classes=0))
    with pytest.raises(RunError, match="mine/1 has no classes to name: its network has no classifier"):
        name_classes(run, {0: "cat"})
    run.backbone.unlink()
    with pytest.raises(RunError, match=r"does not exist.*`sslkit resume"):
        write_label_page(run)
