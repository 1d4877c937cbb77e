from __future__ import annotations

import json

OURS = {
    "backbones": {"alexnet", "convnet", "resnet18"},
    "datasets": {"cifar10", "cifar100", "digits", "fashion-mnist", "image-folder", "stl10", "svhn"},
    "heads": {"projection", "selfcls-mlp", "swav"},
    "losses": {"barlow-twins", "selfcls", "simclr", "swav", "vicreg"},
    "views": {"affine", "crops", "flip"},
    "methods": {"joint-embedding"},
    "optimizers": {"adamw", "lars", "sgd"},
    "evaluators": {"cluster", "finetune", "knn", "linear", "linear-report", "segment"},
}


def test_lists_every_component_of_core_and_plugins(cli) -> None:
    for kind, names in OURS.items():
        done = cli("plugins", "list", "--kind", kind, "--json")
        found = json.loads(done.stdout)
        assert {entry["name"] for entry in found} == names
        assert set(found[0]) == {"kind", "name", "distribution", "version", "target"}


def test_singular_and_plural_are_one_and_an_unknown_kind_is_refused(cli) -> None:
    assert cli("plugins", "list", "--kind", "loss").stdout == cli("plugins", "list", "--kind", "losses").stdout
    done = cli("plugins", "list", "--kind", "tosses")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no kind of component is called 'tosses': did you mean 'losses'?")


def test_works_with_broken_plugins_installed(cli, install) -> None:
    install(
        "crashes", "[sslkit.losses]\ncrash = crash_module:Loss\n", version="0.3", crash_module="raise SystemExit(9)"
    )
    install("garbled", "[sslkit.losses]\nno equals sign\n")
    done = cli("plugins", "list", "--kind", "loss", "--json")
    assert done.returncode == 0
    entries = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert entries["crash"]["version"] == "0.3"
    assert "selfcls" in entries
    assert "cannot read garbled: its entry_points.txt is malformed" in done.stderr


def test_a_broken_plugin_harms_only_who_asks_for_it(cli, install, tiny) -> None:
    install("crashes", "[sslkit.losses]\ncrash = crash_module:Loss\n", crash_module="raise SystemExit(9)")
    assert cli("recipes", "check", tiny).returncode == 0
    tiny.write_text(tiny.read_text().replace('use = "selfcls"\n', 'use = "crash"\n'))
    done = cli("recipes", "check", tiny)
    assert done.returncode == 2
    assert "importing crash_module fails with SystemExit: 9; upgrade crashes" in done.stderr
    assert "Traceback" not in done.stderr
