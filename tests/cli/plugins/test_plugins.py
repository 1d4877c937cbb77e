from __future__ import annotations

import json

OURS = {
    "backbones": {"alexnet", "convnet", "resnet18", "timm"},
    "datasets": {
        *("cifar10", "cifar100", "digits", "digit-scenes", "fashion-mnist", "image-folder"),
        *("oxford-pets", "pascal-voc", "stl10", "svhn"),
    },
    "heads": {"dino", "projection", "selfcls-mlp", "swav"},
    "losses": {
        *("barlow-twins", "byol", "dcl", "dclw", "dino", "directclr", "emp-ssl", "fastsiam", "frossl", "lejepa"),
        *("moco", "moco-v3", "nnclr", "ruc", "scan", "secu", "self-label", "selfcls", "simclr", "simsiam", "swav"),
        *("deepcluster-v2", "mmcr", "sela", "temi", "tico", "vicreg", "w-mse"),
    },
    "views": {"affine", "crops", "flip", "plain"},
    "methods": {
        *("joint-embedding", "momentum-teacher", "rotation", "jigsaw", "colourisation"),
        *("mae", "simmim", "i-jepa", "ibot", "dinov2", "msn", "pmsn"),
    },
    "optimizers": {"adamw", "lars", "sgd"},
    "evaluators": {"cluster", "finetune", "knn", "linear", "linear-sgd", "segment"},
}


def test_list_shows_every_component_of_sslkit_and_its_plugins(cli) -> None:
    for kind, names in OURS.items():
        done = cli("plugins", "list", "--kind", kind, "--json")
        entries = json.loads(done.stdout)
        assert {entry["name"] for entry in entries} == names
        assert set(entries[0]) == {"kind", "name", "distribution", "version", "target"}


def test_list_accepts_singular_and_plural_and_rejects_an_unknown_kind(cli) -> None:
    assert cli("plugins", "list", "--kind", "loss").stdout == cli("plugins", "list", "--kind", "losses").stdout
    done = cli("plugins", "list", "--kind", "tosses")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no kind of component is called 'tosses': did you mean 'losses'?")


def test_list_works_with_broken_plugins(cli, install) -> None:
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


def test_a_broken_plugin_affects_only_recipes_that_use_it(cli, install, tiny) -> None:
    install("crashes", "[sslkit.losses]\ncrash = crash_module:Loss\n", crash_module="raise SystemExit(9)")
    assert cli("recipes", "check", tiny).returncode == 0
    tiny.write_text(tiny.read_text().replace('use = "selfcls"\n', 'use = "crash"\n'))
    done = cli("recipes", "check", tiny)
    assert done.returncode == 2
    assert "importing crash_module fails with SystemExit: 9; upgrade crashes" in done.stderr
    assert "Traceback" not in done.stderr


def test_info_describes_options_and_lists_recipes(cli, tmp_path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.toml").write_text('[loss]\nuse = "simclr"\n')
    (tmp_path / "recipes" / "other.toml").write_text('[[loss]]\nuse = "vicreg"\n')
    (description,) = json.loads(cli("plugins", "info", "simclr", "--json").stdout)
    assert (description["kind"], description["distribution"], description["api"]) == ("loss", "sslkit-lightly", 2)
    assert description["file"].endswith("pairwise.py")
    (option,) = description["options"]
    assert option.pop("documentation").startswith("Temperature of the softmax over similarities")
    assert option == {"name": "temperature", "type": "float", "default": 0.5}
    assert description["recipes"] == ["recipes/mine.toml"]
    known = ["features", "embeddings", "logits", "teacher"]
    assert (description["needs"], description["known_needs"]) == (["embeddings"], known)
    assert "needs: labels, test (known: labels, test)" in cli("plugins", "info", "knn").stdout
    assert "needs" not in json.loads(cli("plugins", "info", "flip", "--json").stdout)[0]
    both = json.loads(cli("plugins", "info", "swav", "--json").stdout)
    assert [item["kind"] for item in both] == ["head", "loss"]
    assert "Temperature of the softmax" in cli("plugins", "info", "simclr").stdout


def test_info_describes_a_variant_of_a_family(cli, tmp_path) -> None:
    (tmp_path / "recipes").mkdir()
    for model in ("resnet50", "vgg11"):
        (tmp_path / "recipes" / f"{model}.toml").write_text(f'[backbone]\nuse = "timm:{model}"\n')
    (description,) = json.loads(cli("plugins", "info", "timm:resnet50", "--json").stdout)
    assert (description["kind"], description["name"]) == ("backbone", "timm:resnet50")
    assert description["options"][0]["default"] == "resnet50"
    assert description["recipes"] == ["recipes/resnet50.toml"]
    (family,) = json.loads(cli("plugins", "info", "timm", "--json").stdout)
    assert (family["name"], family["options"][0]["default"], len(family["recipes"])) == ("timm", "required", 2)
    wrong = cli("plugins", "info", "timm:resnet19")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "error: timm:resnet19: timm has no such model: did you mean 'resnet18'?\n",
    )
    assert "'convnet' of sslkit-backbones has no variants" in cli("plugins", "info", "convnet:large").stderr


def test_new_prints_the_next_steps(cli, tmp_path) -> None:
    done = cli("plugins", "new", "my-loss", "--kind", "losses")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "created sslkit-my-loss; next steps:",
        "  cd sslkit-my-loss",
        "  pip install -e '.[dev]'",
        "  pytest",
        "  sslkit train recipes/my-loss.toml",
    ]
    assert (tmp_path / "sslkit-my-loss" / "pyproject.toml").is_file()
    assert cli("plugins", "new", "my-loss", "--kind", "loss").returncode == 2
