"""Commands that need no neural network import no slow modules, whatever plugins are installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch",
    "torchvision",
    "pytorch_lightning",
    "lightning",
    "lightly",
    "sklearn",
    "scipy",
    "numpy",
    "PIL",
    "matplotlib",
    "jinja2",
}

SCRIPT = """
import sys
from sslkit.cli.__main__ import main
sys.argv = ["sslkit", *{arguments!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("LOADED", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["init", "--help"],
        ["report", "--help"],
        ["explore", "--help"],
        ["doctor", "--help"],
        ["plugins", "list"],
        ["plugins", "list", "--json"],
        ["runs", "list"],
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=arguments)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert loaded & {"sslkit", "typer"} == {"sslkit", "typer"}
    assert not loaded & HEAVY


def test_matplotlib_is_imported_for_reports_only(tiny: Path) -> None:
    commands = [["train", "tiny.toml", "--dry-run"], ["doctor"], ["train", "tiny.toml"]]
    script = "".join(SCRIPT.format(arguments=arguments) for arguments in commands)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tiny.parent)
    assert done.returncode == 0, done.stderr
    lists = [line.split() for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert len(lists) == len(commands)
    for arguments, loaded in zip(commands, lists, strict=True):
        assert "torch" in loaded, arguments
        assert "matplotlib" not in loaded, arguments


@pytest.mark.parametrize("command", [["train"], ["train", "--dry-run"], ["bench"], ["recipes", "check"]], ids=" ".join)
def test_invalid_recipe_is_reported_before_heavy_imports(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[trian]\nepochs = 1\n")
    script = SCRIPT.replace("assert not stop.code, stop.code", "assert stop.code == 2, stop.code")
    done = subprocess.run(
        [sys.executable, "-c", script.format(arguments=[*command, "recipe.toml"])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "unknown section" in done.stderr, done.stderr
    assert not set(done.stdout.rpartition("LOADED")[2].split()) & HEAVY
