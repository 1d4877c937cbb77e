"""Wheels of the core and the plugins work in an environment without the repository."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from wheels import build_wheels, create_environment

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = [ROOT, *sorted((ROOT / "plugins").iterdir())]


TRAIN_AND_EVALUATE = """
import sys
import sslkit, sslkit_selfcls
from sslkit.cli.__main__ import main
print(sslkit.__file__)
sslkit.train(sys.argv[1])
sys.argv = ["sslkit", "eval", "--cluster", "--json"]
main()
"""
"""Program that trains and evaluates in one process, to import torch once."""


def run(*command: str | Path, **options: object) -> str:
    """Run a command and return its standard output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_wheels_work_in_a_clean_environment(tmp_path: Path, tiny: Path) -> None:
    wheels = tmp_path / "wheels"
    build_wheels(DISTRIBUTIONS, wheels)
    assert len(list(wheels.glob("*.whl"))) == len(DISTRIBUTIONS)

    def is_dependency(name: str) -> bool:
        return "sslkit" not in name.lower() and not name.startswith("__editable__")

    site = create_environment(tmp_path / "clean", is_dependency)
    python = tmp_path / "clean" / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", *wheels.glob("*.whl"))

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SSLKIT"))}
    command = tmp_path / "clean" / "bin" / "sslkit"
    listed = json.loads(run(command, "plugins", "list", "--json", cwd=tmp_path, env=environment))
    assert {entry["distribution"] for entry in listed} == {
        "sslkit",
        "sslkit-selfcls",
        "sslkit-discovery",
        "sslkit-lightly",
        "sslkit-backbones",
        "sslkit-segmentation",
        "sslkit-pretext",
    }
    done = run(python, "-c", TRAIN_AND_EVALUATE, tiny, cwd=tmp_path, env=environment)
    location, _, result = done.partition("\n")
    assert location.startswith(str(site))
    assert 0 < json.loads(result)["evaluators"]["cluster"]["metrics"]["acc"] <= 1
