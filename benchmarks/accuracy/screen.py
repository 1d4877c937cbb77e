"""Compare variants of a recipe on held-out training images, to choose its settings.

    python benchmarks/accuracy/screen.py SCREEN.toml [--images DIR] [--only NAME ...] [--no-record]

SCREEN.toml has these keys: ``recipe``, a path relative to SCREEN.toml; ``settings``, which all variants share;
``seed``; and the table ``variants``, which maps the name of each variant to its own settings. Choose a seed that no
published result uses. With ``finetune = {labels = 4600, epochs = 35, lr = 0.05, seeds = [11]}``, each trained network,
and a network with random weights, is also fine-tuned on 4600 labels.

Metrics are measured on the validation split, a tenth of the training images. Pre-training uses these images without
labels. Test images are not used.

Multiple processes can work on the same screen: each process trains only variants that have no file in the folder
``SCREEN.claims``. Results are written to ``SCREEN.jsonl`` and to the record ``records/screens/SCREEN.json``. Results of
earlier settings are ignored. ``--images DIR`` reads images from folders ``DIR/train/<class>`` instead of the recipe's
data set.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import sslkit
from benchmarks.common import command_line, option_parser, print_table, write_record
from sslkit.data.label_subsets import nested_subsets
from sslkit.data.store import SubsetStore
from sslkit.device.hardware import choose_device
from sslkit.evaluation.accuracy import topk_accuracy
from sslkit.evaluation.evaluators.finetune import Finetune
from sslkit.evaluation.labels import require_labels
from sslkit.evaluation.logistic_regression import StandardScaler, fit_regularisation_path
from sslkit.evaluation.run_subject import RunSubject
from sslkit.evaluation.supervised_training import TrainingSettings, predict_logits, train_classifier
from sslkit.recipe.load import load_recipe

MONITORED = ("knn", "acc", "nmi", "effective_rank")
"""Metrics that are reported, without the prefix ``monitor/``."""

PENALTIES = (1e-1, 1e-2, 1e-3)
"""L2 penalties that the linear probe tries."""

RANDOM_WEIGHTS = "random weights"
"""Name of the fine-tuning baseline in the results."""


def main() -> None:
    """Train all variants that no process has claimed, then print the results of all variants."""
    parser = option_parser(__doc__)
    parser.add_argument("screen", type=Path)
    parser.add_argument("--images")
    parser.add_argument("--only", nargs="*", help="train only the variants with these names")
    options = parser.parse_args()
    screen = tomllib.loads(options.screen.read_text())
    results_file, claims = options.screen.with_suffix(".jsonl"), options.screen.with_suffix(".claims")
    claims.mkdir(exist_ok=True)
    recipe = options.screen.parent / screen["recipe"]
    hashes = {name: hash_variant(recipe, screen, name) for name in screen["variants"]}
    for name in options.only or screen["variants"]:
        try:
            (claims / f"{name}-{hashes[name]}").touch(exist_ok=False)
        except FileExistsError:
            continue
        for row in measure(recipe, screen, name, options.images):
            print(row, flush=True)
            with results_file.open("a") as file:
                file.write(json.dumps(row | {"hash": hashes[name]}) + "\n")
    lines = results_file.read_text().splitlines() if results_file.exists() else []
    results: dict[str, dict[str, Any]] = {}
    for row in map(json.loads, lines):
        if row.pop("hash", "") in hashes.values():
            results.setdefault(row.pop("variant"), {}).update(row)
    if missing := [name for name in hashes if "linear" not in results.get(name, {})]:
        print(f"incomplete, or claimed by a different process: {', '.join(missing)}")
    columns = (*MONITORED, "linear", "finetuned")
    print_table(
        f"{options.screen.stem}: validation split",
        ("variant", *columns),
        [(name, *(format_cell(result.get(column)) for column in columns)) for name, result in results.items()],
    )
    if not options.no_record:
        command = command_line().replace(options.images or "DIR", "DIR")
        command = command.replace(str(options.screen), options.screen.name)
        record = {"screen": screen, "split": "validation", "variants": results}
        write_record(f"screens/{options.screen.stem}", record, command=command)


def hash_variant(recipe: Path, screen: dict[str, Any], name: str) -> str:
    """Return a hash of all settings that influence the results of a variant."""
    resolved = load_recipe(recipe, screen["settings"]).to_toml()
    parts = [resolved, screen["seed"], screen["variants"][name], screen.get("finetune")]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=6).hexdigest()


def measure(recipe: Path, screen: dict[str, Any], name: str, images: str | None) -> Iterator[dict[str, Any]]:
    """Train one variant, and yield its metrics as they become available."""
    settings = [f"run.seed={screen['seed']}", *screen["settings"], *screen["variants"][name]]
    if images is not None:
        settings += ["data.use=image-folder", f"data.root={images}"]
    device = choose_device("auto")
    with tempfile.TemporaryDirectory() as folder:
        run = sslkit.train(recipe, settings=settings, runs=folder)
        history = [row for row in run.read_metrics() if row.metric.startswith("monitor/")]
        last = {row.metric.removeprefix("monitor/"): row.value for row in history}
        yield {
            "variant": name,
            "steps": run.status.step,
            "knn_by_epoch": [[row.epoch, row.value] for row in history if row.metric == "monitor/knn"],
            **{metric: last[metric] for metric in MONITORED if metric in last},
        }
        yield {"variant": name, "linear": linear_accuracy(RunSubject(run, device))}
        if tuning := screen.get("finetune"):
            yield {"variant": name, "finetuned": finetuned_accuracies(RunSubject(run, device), tuning)}
            if name == next(iter(screen["variants"])):
                baseline = RunSubject(run, device, weights="random")
                yield {"variant": RANDOM_WEIGHTS, "finetuned": finetuned_accuracies(baseline, tuning)}


def linear_accuracy(subject: RunSubject) -> float:
    """Return the validation accuracy of a linear probe with the best penalty of ``PENALTIES``."""
    train, validation = subject.features("train"), subject.features("validation")
    labels, validation_labels = require_labels(train, "train"), require_labels(validation, "validation")
    scaler = StandardScaler.fit(train.features)
    path = fit_regularisation_path(scaler(train.features), labels, len(subject.class_names), PENALTIES)
    features = scaler(validation.features)
    return max(topk_accuracy(classifier.logits(features), validation_labels)["top1"] for classifier in path.values())


def finetuned_accuracies(subject: RunSubject, tuning: dict[str, Any]) -> list[float]:
    """Return, for each seed, the validation accuracy after fine-tuning on a few labels."""
    train, validation = subject.split("train"), subject.split("validation")
    assert train.labels is not None
    assert validation.labels is not None
    labels, fraction = train.labels.cpu(), min(1.0, tuning["labels"] / len(train.images))
    defaults = Finetune.Options.model_validate({})
    settings = TrainingSettings(
        tuning["epochs"],
        defaults.batch_size,
        tuning["lr"],
        defaults.lr_head,
        defaults.weight_decay,
        defaults.crop_scale,
        defaults.flip_p,
    )
    accuracies = []
    for seed in tuning["seeds"]:
        indices = nested_subsets(labels, [fraction], seed)[fraction]
        images, classes = SubsetStore(train.images, indices), len(subject.class_names)
        backbone = deepcopy(subject.backbone())
        network = train_classifier(backbone, images, labels[indices], classes, subject.context, settings, seed)
        logits = predict_logits(network, validation.images, subject.context)
        accuracies.append(topk_accuracy(logits, validation.labels.cpu())["top1"])
    return accuracies


def format_cell(value: Any) -> str:
    """Format a number or a list of numbers; return an empty string for None."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return ", ".join(f"{each:.3f}" if each < 2 else f"{each:.0f}" for each in values)


if __name__ == "__main__":
    main()
