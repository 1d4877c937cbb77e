from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sslkit.cli.main import app
from sslkit.components.catalog import Catalog
from sslkit.diagnosis import machine, plugins, storage
from sslkit.diagnosis.findings import Finding


def test_plugins_that_hang_or_die_are_told_and_stop_nobody(install, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {
        "a-dies": "import os; print('noise'); os._exit(7)",
        "b-hangs": "import time; time.sleep(1000)",
        "c-broken": "from os import nothing_of_the_kind",
        "d-missing": "import nowhere_to_be_found",
    }
    for name, source in sources.items():
        module = f"diagnosed_{name[0]}"
        install(f"dist-{name}", f"[sslkit.losses]\n{name} = {module}:Loss\n", **{module: source})
    entries = [entry for entry in Catalog.scan().entries if entry.name in sources]
    real = subprocess.run

    def run(command: list[str], timeout: float, **options):
        return real(command, timeout=1.5 if "b-hangs" in json.loads(command[-1])[0] else 100, **options)

    monkeypatch.setattr(subprocess, "run", run)
    reasons = {entry.name: reason for entry, reason in plugins.try_imports(entries)}
    assert list(reasons) == list(sources)
    place = "loss 'a-dies' of dist-a-dies 1.0 (entry point sslkit.losses: a-dies = diagnosed_a:Loss)"
    assert reasons["a-dies"] == f"{place}: importing it ends the process with code 7"
    assert "importing diagnosed_c fails with ImportError: cannot import name" in reasons["c-broken"]
    assert reasons["b-hangs"].endswith("importing it takes longer than 120 s")
    assert "it needs the module 'nowhere_to_be_found', which is not installed" in reasons["d-missing"]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the command; plugins are taken to be good, but for those that the test names."""
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 9, 9))

    def run(*arguments: str, broken: dict[str, str] | None = None):
        def try_imports(entries):
            return [(entry, (broken or {}).get(entry.name, "")) for entry in entries]

        monkeypatch.setattr(plugins, "try_imports", try_imports)
        return CliRunner().invoke(app, ["doctor", "--runs", str(tmp_path / "runs"), *arguments])

    return run


def test_all_is_well_exits_0_and_what_is_broken_1(doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = doctor("--json")
    assert done.exit_code == 0, done.output
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert list(found) == [
        "versions", "libraries", "device", "precision", "threads", "load", "runs", "cache", "cached data", "plugins",
    ]  # fmt: skip
    assert "broken" not in [finding["state"] for finding in found.values()]
    assert f"torch {torch.__version__.partition('+')[0]}" in found["libraries"]["text"]
    assert found["runs"]["text"].startswith(f"{tmp_path / 'runs'}, ")
    assert not (tmp_path / "runs").exists()

    done = doctor(broken={"selfcls": "loss 'selfcls' is [not] well"})
    assert done.exit_code == 1
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert "broken  plugins: loss 'selfcls' is [not] well" in lines
    assert "        `sslkit plugins check sslkit-selfcls:selfcls` tells more" in lines

    monkeypatch.setenv("SSLKIT_PLUGINS", "sslkit-selfcls,nobody")
    done = doctor()
    assert done.exit_code == 0
    assert "note    plugins: SSLKIT_PLUGINS names nobody, which offers no component here" in done.stdout
    assert "note    plugins: SSLKIT_PLUGINS hides sslkit-backbones, sslkit-lightly" in done.stdout


def test_folders_that_cannot_be_written_are_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "file" / "cache"))
    good, broken = storage.folders(tmp_path / "not" / "yet")
    assert (good.state, broken.state) == ("good", "broken")
    assert broken.text == f"{tmp_path / 'file' / 'cache'} cannot be written: Not a directory"
    assert broken.advice == "name another with SSLKIT_CACHE"
    monkeypatch.setattr(storage, "LITTLE", 1e18)
    assert [finding.state for finding in storage.folders(tmp_path)] == ["note", "broken"]


def test_folders_that_may_not_be_looked_into_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    honest = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if tmp_path / "locked" in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return honest(path, **options)

    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "locked" / "cache"))
    monkeypatch.setattr(Path, "stat", stat)
    _, cache = storage.folders(tmp_path / "runs")
    assert (cache.state, "Permission denied" in cache.text) == ("broken", True)
    assert storage.cached().state == "note"


def test_a_requirement_that_is_not_met_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["torch>=99", "nobody-made-this>=1", "numpy>=1", "never>=1; extra == 'dev'"]
    monkeypatch.setattr(machine.metadata, "requires", lambda name: asked)
    version = machine.metadata.version("torch")
    found = [finding for finding in machine.versions() if finding.state == "broken"]
    assert found == [
        Finding("torch", "broken", f"is {version}, sslkit needs >=99", "pip install 'torch>=99'"),
        Finding("nobody-made-this", "broken", "is not installed", "pip install 'nobody-made-this>=1'"),
    ]


def test_what_would_make_it_faster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(machine, "DRIVER", tmp_path)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert machine.device().text == "cpu: there is an NVIDIA card, but this torch is built without CUDA"
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert machine.threads() == Finding(
        "threads", "note", "2 for 8 CPUs, as OMP_NUM_THREADS says", "unset it, or set it to 8"
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert machine.threads().advice == "set OMP_NUM_THREADS=8"
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0, 0, 0))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert machine.load().state == "note"
