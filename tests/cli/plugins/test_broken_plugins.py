"""Broken plugins of every kind, all installed at once, do not affect commands that do not use them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

GOOD = """
import sslkit
class Good(sslkit.Loss):
    '''Good.'''
    api = {api}
    needs = frozenset({{"embeddings"}})
    def forward(self, views):
        return sslkit.LossOutput(views.student.embeddings[0].square().mean())
"""

SOURCES = {
    "import-error": ("from os import nothing_of_the_kind", "fails with ImportError: cannot import name"),
    "missing-dependency": ("import nowhere_to_be_found", "needs the module 'nowhere_to_be_found'"),
    "syntax-error": ("def broken(:", "fails with SyntaxError"),
    "raises": ("raise RuntimeError('no licence')", "fails with RuntimeError: no licence"),
    "exits": ("import sys; sys.exit(3)", "fails with SystemExit: 3"),
    "wrong-type": ("Good = 'a string'", "type str, which is not a subclass of sslkit.Loss"),
    "stale": ("", "stale entry point, p_stale has no 'Good'"),
    "future": (GOOD.format(api=99), "needs contract version 99"),
}
"""Source of the module, and the essential words of the error when it is used, keyed by component name."""

SIDE_EFFECTS = {
    "sleeps": "import time; time.sleep(10)\n" + GOOD.format(api=2),
    "prints": "print('noise')\n" + GOOD.format(api=2),
    "seeds": "import torch, random; torch.manual_seed(5); random.seed(5)\n" + GOOD.format(api=2),
}
"""Source of modules that work, but have side effects on import."""


@pytest.fixture(autouse=True)
def installed(install) -> Path:
    site = None
    for name, source in [(name, source) for name, (source, _) in SOURCES.items()] + list(SIDE_EFFECTS.items()):
        module = f"p_{name.replace('-', '_')}"
        points = f"[sslkit.losses]\n{name} = {module}:Good\n"
        site = install(f"dist-{name}", points, version="0.7", **{module: source})
    install("one-more", "[sslkit.losses]\ntwice = p_one:Good\n")
    install("another-one", "[sslkit.losses]\ntwice = p_two:Good\n")
    assert site is not None
    return site


def test_commands_that_do_not_use_them_work(cli, tiny: Path) -> None:
    for command in (
        ("plugins", "list"),
        ("recipes", "check", tiny),
        ("recipes", "show", tiny),
        ("plugins", "info", "affine"),
        ("plugins", "check", "selfcls"),
        ("train", tiny, "--set", "train.epochs=1"),
        ("runs", "list"),
        ("eval", "--cluster", "--json"),
    ):
        done = cli(*command)
        assert done.returncode == 0, (command, done.stderr)
        assert "noise" not in done.stdout


@pytest.mark.parametrize("name", SOURCES)
def test_using_one_gives_one_clear_error(name: str, cli, tiny: Path) -> None:
    done = cli("recipes", "show", tiny, "--set", f"loss.use={name}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: 1 problem in the recipe")
    module = f"p_{name.replace('-', '_')}"
    assert f"loss '{name}' of dist-{name} 0.7 (entry point sslkit.losses: {name} = {module}:Good)" in done.stderr
    assert SOURCES[name][1] in done.stderr
    assert re.search(r"upgrade|uninstall|another loss|pip install", done.stderr)


def test_ambiguous_name_must_be_qualified(cli, tiny: Path) -> None:
    done = cli("recipes", "check", tiny)
    assert done.returncode == 0
    asked = cli("recipes", "show", tiny, "--set", "loss.use=twice")
    assert "write 'another-one:twice' or 'one-more:twice'" in asked.stderr


def test_plugin_that_prints_or_seeds_changes_neither_json_nor_weights(cli, tiny: Path, tmp_path: Path) -> None:
    losses = {}
    for name in ("prints", "seeds"):
        settings = ("--set", f"loss.use={name}", "--set", "train.epochs=1", "--runs", tmp_path / name)
        done = cli("train", tiny, *settings, "--json")
        run = json.loads(done.stdout)["run"]
        losses[name] = [line for line in (Path(run) / "metrics.csv").read_text().splitlines() if ",loss," in line]
    assert losses["prints"] == losses["seeds"] != []


def test_environment_variable_hides_them(cli) -> None:
    listed = json.loads(cli("plugins", "list", "--kind", "loss", "--json", SSLKIT_PLUGINS="sslkit-selfcls").stdout)
    assert [entry["name"] for entry in listed] == ["selfcls"]
