"""Commands that need no neural network import no slow modules, whatever plugins are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

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
for arguments in {commands!r}:
    sys.argv = ["sslkit", *arguments]
    try:
        main()
    except SystemExit as stop:
        assert (stop.code or 0) == {exit_code}, (arguments, stop.code)
    print("\\nLOADED", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def modules_after(commands: list[list[str]], folder: Path, exit_code: int = 0) -> tuple[list[set[str]], str]:
    """Run commands in one new process; return the modules that are loaded after each of them, and stderr."""
    script = SCRIPT.format(commands=commands, exit_code=exit_code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    loaded = [set(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert len(loaded) == len(commands)
    return loaded, done.stderr


def test_light_commands_import_nothing_heavy(tmp_path: Path) -> None:
    helps = [[*command, "--help"] for command in ([], ["train"], ["init"], ["report"], ["explore"], ["doctor"])]
    lists = [["plugins", "list"], ["plugins", "list", "--json"], ["runs", "list"]]
    commands = [["--version"], *helps, *lists]
    for arguments, loaded in zip(commands, modules_after(commands, tmp_path)[0], strict=True):
        assert loaded & {"sslkit", "typer"} == {"sslkit", "typer"}
        assert not loaded & HEAVY, arguments


def test_naming_classes_needs_no_torch(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "runs" / "mine" / "1"))
    (loaded,), _ = modules_after([["label", str(run), "--set", "0=zero"]], tmp_path)
    assert "torch" not in loaded
    assert '0 = "zero"' in (run / "classes.toml").read_text()


def test_matplotlib_is_imported_for_reports_only(tiny: Path) -> None:
    commands = [["train", "tiny.toml", "--dry-run"], ["doctor"], ["train", "tiny.toml"]]
    for arguments, loaded in zip(commands, modules_after(commands, tiny.parent)[0], strict=True):
        assert "torch" in loaded, arguments
        assert "matplotlib" not in loaded, arguments


def test_an_existing_table_is_reported_before_heavy_imports(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    commands = [[command, "latest", "pictures", "--out", "out.csv"] for command in ("predict", "embed")]
    lists, err = modules_after(commands, tmp_path, exit_code=2)
    assert err.count("out.csv exists already: overwrite it with --force, or choose another file") == 2, err
    assert not lists[-1] & HEAVY


def test_invalid_recipe_is_reported_before_heavy_imports(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[trian]\nepochs = 1\n")
    commands = [["train"], ["train", "--dry-run"], ["bench"], ["recipes", "check"]]
    lists, err = modules_after([[*command, "recipe.toml"] for command in commands], tmp_path, exit_code=2)
    assert err.count("unknown section") == len(commands), err
    assert not lists[-1] & HEAVY
