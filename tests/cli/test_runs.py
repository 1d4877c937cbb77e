from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sslkit.cli.main import app
from sslkit.runs.find import find_run
from sslkit.runs.run import Run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSLKIT_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def create_finished(root: Path, name: str, run_id: str) -> Run:
    """Create a finished run with a given ID, and mark it as the latest."""
    run = Run.create(root, name)
    run.write_status("finished", 10, 10, 2, 2)
    path = run.path.with_name(run_id)
    run.path.rename(path)
    Run(path).mark_latest()
    return Run(path)


def invoke(*arguments: str | Path, **options: str):
    return CliRunner().invoke(app, list(map(str, arguments)), **options)


def test_after_removing_a_run_the_newest_remaining_one_is_the_latest(root: Path) -> None:
    old, middle, new = (
        create_finished(root, name, f"2026010{day}-000000-aaaa") for day, name in enumerate("aab", start=1)
    )
    assert (root / "latest").resolve() == new.path
    done = invoke("runs", "rm", "b", "--yes")
    assert (done.exit_code, done.stdout) == (0, f"removed {new.path}\n")
    assert not (root / "b").exists()
    assert find_run(None, root).path == middle.path

    ambiguous = invoke("runs", "rm", "a", "--yes")
    assert ambiguous.exit_code == 2
    assert f"{root} has 2 runs named 'a': name one of them, such as {middle.name}" in ambiguous.stderr
    assert invoke("runs", "rm", old.name, "-y").exit_code == 0
    assert (root / "latest").resolve() == middle.path, "another one was the latest"
    assert invoke("runs", "rm", "latest", "-y").exit_code == 0
    assert list(root.iterdir()) == []


def test_removing_asks_for_confirmation(root: Path) -> None:
    run = create_finished(root, "a", "20260101-000000-aaaa")
    for answer in ("n\n", ""):
        done = invoke("runs", "rm", "a", input=answer)
        assert done.exit_code == 1
        assert f"remove {run.path}? [y/N]:" in done.stderr
        assert run.path.exists()
    assert invoke("runs", "rm", "a", input="y\n").exit_code == 0
    assert not run.path.exists()


def test_damaged_run_is_removed_and_other_folders_are_not(root: Path, tmp_path: Path) -> None:
    damaged = create_finished(root, "a", "20260101-000000-aaaa")
    (damaged.path / "status.json").write_text("{")
    project = tmp_path / "work" / "project"
    project.mkdir(parents=True)
    (project / "status.json").write_text('{"state": "open"}')
    refused = invoke("runs", "rm", project, "-y")
    assert refused.exit_code == 2
    assert refused.stderr == f"error: {project} is not removed: it has no valid status.json and is not in {root}\n"
    assert [path.name for path in project.iterdir()] == ["status.json"]
    assert invoke("runs", "rm", damaged.path, "-y").exit_code == 0
    assert not damaged.path.exists()


def test_run_in_training_is_not_removed(root: Path) -> None:
    run = create_finished(root, "a", "20260101-000000-aaaa")
    with run.locked():
        done = invoke("runs", "rm", "a", "--yes")
    assert done.exit_code == 2
    assert f"another process is training {run.name}" in done.stderr
    assert run.has_valid_status
    assert (root / "latest").exists()


def test_shell_completion_imports_nothing_heavy(root: Path) -> None:
    create_finished(root, "alpha", "20260101-000000-aaaa")
    create_finished(root, "alpha", "20260102-000000-aaaa")
    (root.parent / "recipes").mkdir()
    (root.parent / "recipes" / "mine.toml").write_text("")
    completions = {
        "eval alp": ["alpha/20260102-000000-aaaa", "alpha/20260101-000000-aaaa"],
        "train rec": ["recipes/mine.toml"],
        "plugins info selfcls": ["selfcls", "selfcls-mlp"],
        "plugins list --kind lo": ["loss"],
    }
    script = (
        "import io, json, os, sys\n"
        "from contextlib import redirect_stdout\n"
        "from sslkit.cli.main import app\n"
        "os.environ['_SSLKIT_COMPLETE'] = 'complete_bash'\n"
        "found = []\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    os.environ['COMP_WORDS'] = 'sslkit ' + words\n"
        "    os.environ['COMP_CWORD'] = str(len(words.split()))\n"
        "    out = io.StringIO()\n"
        "    with redirect_stdout(out):\n"
        "        try: app(prog_name='sslkit')\n"
        "        except SystemExit: pass\n"
        "    found.append(out.getvalue().split())\n"
        "print(json.dumps([found, [name for name in ('torch', 'numpy', 'PIL') if name in sys.modules]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, json.dumps(list(completions))], capture_output=True, text=True)
    assert json.loads(done.stdout) == [list(completions.values()), []], done.stderr


def test_tables_fit_the_terminal(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from sslkit.cli.common import console

    run = create_finished(root, "selfcls-alexnet", "20260101-000000-aaaa")
    run.metrics.write_text("step,epoch,metric,value\n10,2.0,monitor/classes_used,9.0\n")
    for width, columns in ((80, 4), (50, 2), (40, 1)):
        monkeypatch.setattr(
            console, "stdout_console", lambda width=width: Console(force_terminal=True, width=width, color_system=None)
        )
        for arguments in (("runs", "list"), ("plugins", "list")):
            lines = invoke(*arguments).stdout.splitlines()
            assert max(len(line) for line in lines if "/" not in line and ":" not in line) <= width
        (row,) = [line for line in invoke("runs", "list").stdout.splitlines() if "20260101" in line]
        assert row.split() == ["selfcls-alexnet/20260101-000000-aaaa", "finished", "2/2", "10/10"][:columns]
    assert "  state          finished" in invoke("runs", "list").stdout, "at 40 columns a row is a block"
    monkeypatch.setattr(console, "stdout_console", lambda: Console(force_terminal=False, width=40))
    assert "sslkit.data.datasets.torchvision:FashionMnist" in invoke("plugins", "list").stdout, "whole lines for grep"


@pytest.mark.parametrize(
    "command", ["eval", "label --set 0=a", "report", "export --to safetensors --out x.safetensors"]
)
def test_unfinished_latest_run_is_skipped_with_a_note(root: Path, command: str) -> None:
    finished = create_finished(root, "a", "20260101-000000-aaaa")
    failed = Run.create(root, "b")
    failed.write_status("failed", 4, 10, 0, 2)
    done = invoke(*command.split())
    note = f"{finished.name} is used, the newest finished run: {failed.name} failed at step 4 of 10"
    assert done.stderr.startswith(f"note: {note}\n")


def test_running_run_is_never_advised_to_be_resumed(root: Path, tmp_path: Path) -> None:
    run = Run.create(root, "a")
    run.write_status("running", 4, 10, 0, 2)
    (tmp_path / "image.png").write_bytes(b"")
    with run.locked():
        for command in ("eval", "label", f"eval {run.path}", f"label {run.path}", "predict a image.png --out x.csv"):
            done = invoke(*command.split())
            assert done.exit_code == 2
            assert "is still running, at step 4 of 10; wait until it has finished" in done.stderr
            assert "sslkit resume" not in done.stderr
