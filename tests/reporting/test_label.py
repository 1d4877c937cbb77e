"""Naming what was discovered, from the command line and from the page."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from forked_cli import run_sslkit

from sslkit import Run
from sslkit.errors import RunError
from sslkit.evaluation.clustering_metrics import contingency
from sslkit.evaluation.subject import RunSubject
from sslkit.reporting import label_page as labelling
from sslkit.reporting.label_page import label, name_classes
from sslkit.runs.class_names import read_class_names

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def run(labelled: Run, tmp_path: Path) -> Run:
    """A copy that may be named."""
    shutil.copytree(labelled.path, tmp_path / "runs" / "mine" / "1")
    return Run(tmp_path / "runs" / "mine" / "1")


def test_the_page_shows_every_class_and_the_file_waits_for_names(run: Run, parse) -> None:
    name_classes(run, {1: ' "quoted" <b>\n'})
    found = label(run)
    assert found.names == ("", '"quoted" <b>', "")
    assert found.page == run.path / "label.html"
    assert (run.path / "classes.toml").read_text().endswith('[names]\n0 = ""\n1 = "\\"quoted\\" <b>"\n2 = ""\n')
    page = parse(found.page)
    page.check_alone()
    inputs = page.all("input")
    assert [(own["aria-label"], own["value"]) for own in inputs] == [
        ("Name of class 0", ""),
        ("Name of class 1", '"quoted" <b>'),
        ("Name of class 2", ""),
    ]
    assert len(page.all("img")) == 24, "each test image is the most or the least confident of its class"
    features = RunSubject(run, "cpu").features("test")
    table = contingency(features.logits.argmax(1), features.labels, 3, 2)
    for image in page.all("img"):
        place, number = int(image["alt"].split()[1].strip(",")), int("label dog" in image["alt"])
        assert image["alt"].endswith(", which differs") == (number != table[place].argmax())
    (bar,) = page.all("div", class_="bar no-print")
    assert bar["data-run"] == str(run.path)


def test_the_command_names_and_never_forgets(run: Run, tmp_path: Path) -> None:
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
    assert "classes.toml:2: the name of class 0 must be text" in done.stderr
    assert (run.path / "classes.toml").read_text() == "[names]\n0 = 7\n"


def test_what_has_no_classes_cannot_be_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "TrainedNetwork", lambda run, device: SimpleNamespace(classes=0))
    with pytest.raises(RunError, match="mine/1 discovered no classes to name: its network has no classifier"):
        name_classes(run, {0: "cat"})
    run.backbone.unlink()
    with pytest.raises(RunError, match="the run has not finished; `sslkit resume` completes it"):
        label(run)


def test_members_stand_in_the_order_of_their_confidence() -> None:
    from sslkit.evaluation.discovered import Discovered

    logits = torch.tensor([[3.0, 0, 1], [0, 5, 0], [2, 0, 1.5], [9, 0, 8.9], [4, 0, 0]])
    found = Discovered.of(logits, torch.tensor([1, 0, 1, 0, 1]), 2, temperature=0.5)
    assert torch.allclose(found.confidence, (2 * logits.double()).softmax(1).max(1).values)
    assert found.sizes.tolist() == [4, 1, 0]
    assert found.members(0).tolist() == [4, 0, 2, 3]
    assert found.majority(0) == (1, 0.75)
    assert found.majority(2) is None
    assert found.table is not None
    assert found.table.tolist() == [[1, 3], [1, 0], [0, 0]]
