"""Name discovered classes from the command line, and open the page without ``--set``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from torch import nn
from typer.testing import CliRunner

from sslkit import Run
from sslkit.cli import explore
from sslkit.cli.main import app
from sslkit.errors import RunError
from sslkit.runs.class_names import read_class_names
from sslkit.runs.name_classes import name_classes
from sslkit.runs.weights import save_weights


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run whose second classifier, with three classes, is used."""
    run = Run.create(tmp_path / "runs", "mine")
    save_weights(nn.Linear(1, 1), run.heads, {"head": "a", "classifier": 1, "classifiers": [5, 3]})
    run.write_status("finished", 1, 1, 1, 1)
    return run


def test_the_command_keeps_the_names_that_it_does_not_set(run: Run) -> None:
    def invoke(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, ["label", str(run.path), *arguments], env={"COLUMNS": "100"})
        return done.exit_code, done.stdout, done.stderr

    (run.path / "classes.toml").write_text('[names]\n0 = "cat"\n[added]\n4 = "owl"\n')
    assert run.label({1: " cat\n"}) == ("cat", "cat", "")
    (run.path / "recipe.toml").write_text('[data]\nuse = "image-folder"\nroot = "my pictures"\n')
    code, out, err = invoke("--set", "1=", "--set", "2=[red]\x1b[31mdog = wolf")
    assert code == 0, err
    assert read_class_names(run, 3) == ("cat", "", "[red]\x1b[31mdog = wolf")
    assert r"[red]\x1b[31mdog = wolf" in out
    assert out.endswith(f"next step:\n  sslkit predict {run.path} 'my pictures' --out classes.csv\n")
    assert '4 = "owl"' in (run.path / "classes.toml").read_text()
    assert json.loads(invoke("--set", "1=hen", "--json")[1])["names"] == ["cat", "hen", "[red]\x1b[31mdog = wolf"]
    code, _, err = invoke("--set", "3=bird")
    assert (code, err) == (2, f"error: there is no class 3; the classes of {run.name} are 0 to 2\n")
    assert "--set takes CLASS=NAME, such as 0=cat, not 'cat=0'" in invoke("--set", "cat=0")[2]
    assert "--json needs --set CLASS=NAME" in invoke("--json")[2]
    (run.path / "classes.toml").write_text("[names]\n0 = 7\n")
    code, _, err = invoke("--set", "1=bird")
    assert code == 2
    assert "classes.toml:2: the name of class 0 must be a string" in err
    assert (run.path / "classes.toml").read_text() == "[names]\n0 = 7\n"


def test_without_names_the_page_opens(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str | None, Path | None]] = []

    def open_page(run: str | None, *, runs: Path | None) -> None:
        opened.append((run, runs))
        raise typer.Exit(7)

    monkeypatch.setattr(explore, "command", open_page)
    runs = run.path.parents[1]
    assert CliRunner().invoke(app, ["label", "mine", "--runs", str(runs)]).exit_code == 7
    assert opened == [("mine", runs)]


def test_a_run_without_classes_or_weights_is_refused(run: Run) -> None:
    save_weights(nn.Linear(1, 1), run.heads, {"head": "", "classifier": 0})
    with pytest.raises(RunError, match="has no classes to name: its network has no classifier"):
        name_classes(run, {0: "cat"})
    run.heads.unlink()
    run.write_status("interrupted", 1, 2, 1, 2)
    with pytest.raises(RunError, match=r"does not exist.*`sslkit resume"):
        name_classes(run, {0: "cat"})
