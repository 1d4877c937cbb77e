from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

import sslkit
from sslkit.cli.main import app


def test_an_impossible_export_exits_with_2_and_names_the_possible_formats(
    cli, finished_run: Path, tmp_path: Path
) -> None:
    done = cli("export", finished_run, "--to", "torchvision", "--out", "net.safetensors")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: this run cannot be exported to torchvision: the backbone 'sslkit-backbones:convnet' names no model"
    )
    assert done.stderr.endswith(": safetensors, onnx\n")
    assert not (tmp_path / "net.safetensors").exists()


def test_the_command_prints_the_files_their_contents_and_the_loading_code(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "[bold]net.safetensors"
    done = CliRunner().invoke(app, ["export", str(finished_run), "--to", "safetensors", "--out", str(out)])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{out}\n{tmp_path}/[bold]net.safetensors.md\n")
    assert "without heads and classifiers. To load it:\n\n" in done.stdout
    assert done.stdout.endswith(
        "import sslkit\n\ntrained = sslkit.load_backbone('[bold]net.safetensors')\nmodel = trained.backbone\n"
    )
    assert sslkit.load_backbone(out).channels == 1
