from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

import sslkit
from sslkit.cli.main import app


def test_a_refusal_tells_what_can_be_and_exits_with_2(cli, finished_run: Path, tmp_path: Path) -> None:
    done = cli("export", finished_run, "--to", "torchvision", "--out", "net.safetensors")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: this run cannot be exported to torchvision: the backbone 'sslkit-backbones:convnet' names no network "
        "there that takes its weights.  It can be to safetensors, onnx\n"
    )
    assert not (tmp_path / "net.safetensors").exists()


def test_it_says_what_was_written_what_is_left_out_and_how_to_load_it(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "[bold]net.safetensors"
    done = CliRunner().invoke(app, ["export", str(finished_run), "--to", "safetensors", "--out", str(out)])
    assert done.exit_code == 0
    assert done.stdout == (
        f"{out}\n{tmp_path}/[bold]net.safetensors.md\n"
        "The file holds the backbone under its own names; heads and classifiers are left out.  To load it:\n\n"
        "import sslkit\n\ntrained = sslkit.load_backbone('[bold]net.safetensors')\nmodel = trained.backbone\n"
    )
    assert sslkit.load_backbone(out).channels == 1
