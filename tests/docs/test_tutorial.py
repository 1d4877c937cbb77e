"""The tutorial's files can be written, tested and trained as printed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from processes.forked_cli import run_script, run_sslkit

from sslkit.components.kinds import find_kind
from sslkit.scaffold import write_distribution

TUTORIAL = Path(__file__).parents[2] / "docs" / "plugins" / "tutorial.md"
PYTEST = str(Path(pytest.__file__).with_name("__main__.py"))
CHANGED_LINE = "sslkit_coding_rate/loss.py, the line"

NUMBER = re.compile(r"-?\d+\.\d+")
"""Losses in the conformance tests' message, which depend on the platform's rounding."""


@pytest.fixture
def blocks() -> dict[str, str]:
    """The tutorial's code blocks by title."""
    return dict(re.findall(r'```python title="([^"]+)"\n(.*?)```', TUTORIAL.read_text(), re.DOTALL))


def test_tutorial_works_as_printed(blocks: dict[str, str], tmp_path: Path, install) -> None:
    folder = write_distribution("coding-rate", find_kind("loss"), tmp_path / "sslkit-coding-rate")
    entry = 'coding-rate = "sslkit_coding_rate.loss:CodingRate"'
    assert entry in (folder / "pyproject.toml").read_text()
    assert entry in TUTORIAL.read_text()
    for title, text in blocks.items():
        if title != CHANGED_LINE:
            (folder / title).write_text(text)
    assert len(blocks["sslkit_coding_rate/loss.py"].split("class CodingRate", 1)[1].strip().splitlines()) <= 40
    site = install("sslkit-coding-rate", f"[sslkit.losses]\n{entry.replace(chr(34), '')}\n")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), str(site)]),
        "SSLKIT_RUNS": str(tmp_path / "runs"),
        "OMP_NUM_THREADS": "1",
    }

    def run_tests(*arguments: str) -> CompletedProcess[str]:
        return run_script([PYTEST, "-q", "-p", "no:cacheprovider", *arguments], environment, folder)

    done = run_tests("-k", "not import")
    assert re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE) == [
        "test_several_processes_give_the_loss_of_the_global_batch"
    ]
    (message,) = re.findall(r"```text\n(.*?)\n```", TUTORIAL.read_text(), re.DOTALL)
    expected = NUMBER.sub("NUMBER", message.replace("\n", " "))
    assert expected in NUMBER.sub("NUMBER", done.stdout)

    loss = folder / "sslkit_coding_rate" / "loss.py"
    loss.write_text(re.sub(r"^ +each = .*\n", blocks[CHANGED_LINE], loss.read_text(), count=1, flags=re.MULTILINE))
    done = run_tests()
    assert done.returncode == 0, done.stdout
    done = run_sslkit(["train", "recipes/coding-rate.toml", "--set", "train.epochs=1"], environment, folder)
    assert done.returncode == 0, done.stderr
    assert run_sslkit(["eval", "--knn", "--baseline", "random"], environment, folder).returncode == 0
    both = ("--set", "loss=[{use='coding-rate'}, {use='simclr', weight=0.1}]", "--set", "train.epochs=1")
    done = run_sslkit(["train", "recipes/coding-rate.toml", *both], environment, folder)
    assert done.returncode == 0, done.stderr
    metrics = (tmp_path / "runs" / "latest" / "metrics.csv").read_text()
    assert all(
        f",{name}," in metrics for name in ("coding-rate", "coding-rate/rate", "coding-rate/agreement", "simclr")
    )
