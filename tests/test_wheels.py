"""Wheels of the core and the plugins work in an environment without the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = [ROOT, *sorted((ROOT / "plugins").iterdir())]


def run(*command: str | Path, **options: object) -> str:
    """Run a command and return its standard output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_wheels_work_in_a_clean_environment(tmp_path: Path, tiny: Path) -> None:
    wheels = tmp_path / "wheels"
    for distribution in DISTRIBUTIONS:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, distribution)
    assert len(list(wheels.glob("*.whl"))) == len(DISTRIBUTIONS)

    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    site = next((tmp_path / "clean" / "lib").glob("python*/site-packages"))
    # Dependencies are linked instead of installed again.
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        is_sslkit = "sslkit" in path.name.lower() or path.name.startswith("__editable__")
        if not is_sslkit and not (site / path.name).exists():
            (site / path.name).symlink_to(path)
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
    }
    location = run(python, "-c", "import sslkit, sslkit_selfcls; print(sslkit.__file__)", cwd=tmp_path, env=environment)
    assert location.startswith(str(site))
    run(command, "train", tiny, "--json", cwd=tmp_path, env=environment)
    result = json.loads(run(command, "eval", "--cluster", "--json", cwd=tmp_path, env=environment))
    assert 0 < result["evaluators"]["cluster"]["metrics"]["acc"] <= 1
