"""Variants of a recipe side by side, judged by labels of some training images: how values for a recipe are chosen.

    python benchmarks/accuracy/screen.py SCREEN.toml [--images DIR] [--only NAME ...] [--no-record]

SCREEN.toml names a ``recipe`` (relative to itself), ``settings`` that all trainings share, a ``seed``, and a table
``jobs`` of further settings by name.  With ``finetune = {labels = 4600, epochs = 35, lr = 0.05, seeds = [11, 12]}``
each network, and one with random weights, is also trained further on so many labels.  Test images are not read:
figures are those of the validation split, a tenth of the training images, which pre-training has seen, but nothing else
their labels.  The seed should be none that results are reported with.

Several processes share a screen if they are started with the same one: each takes jobs that are not in the folder
``SCREEN.claims`` beside it.  Results are lines of ``SCREEN.jsonl``, the record ``records/screens/SCREEN.json``.  A job
whose recipe or settings were changed is another one; what was found with others is left out.
``--images`` is a folder ``train/<class>`` of such images as the recipe's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import sslkit
from benchmarks.common import command_line, print_table, write_record
from sslkit.data.label_subsets import nested_subsets
from sslkit.data.store import SubsetStore
from sslkit.device.hardware import choose_device
from sslkit.evaluation.accuracy import topk_accuracy
from sslkit.evaluation.evaluators.finetune import Finetune
from sslkit.evaluation.logistic_regression import StandardScaler, fit_regularisation_path
from sslkit.evaluation.run_subject import RunSubject
from sslkit.evaluation.supervised_training import TrainingSettings, predict_logits, train_classifier
from sslkit.recipe.load import load_recipe

MONITORED = ("knn", "acc", "nmi", "effective_rank")
PENALTIES = (1e-1, 1e-2, 1e-3)
SCRATCH = "random weights"


def main() -> None:
    """Take jobs until none is left, then print what all have found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("screen", type=Path)
    parser.add_argument("--images")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    screen = tomllib.loads(asked.screen.read_text())
    found, claims = asked.screen.with_suffix(".jsonl"), asked.screen.with_suffix(".claims")
    claims.mkdir(exist_ok=True)
    recipe = asked.screen.parent / screen["recipe"]
    current = {name: identity(recipe, screen, name) for name in screen["jobs"]}
    for name in asked.only or screen["jobs"]:
        try:
            (claims / f"{name}-{current[name]}").touch(exist_ok=False)
        except FileExistsError:
            continue
        for row in job(recipe, screen, name, asked.images):
            print(row, flush=True)
            with found.open("a") as file:
                file.write(json.dumps(row | {"of": current[name]}) + "\n")
    rows = [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []
    by_job: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.pop("of", "") in current.values():
            by_job.setdefault(row.pop("job"), {}).update(row)
    if missing := [name for name in current if "linear" not in by_job.get(name, {})]:
        print(f"not done, or still being done by another process: {', '.join(missing)}")
    columns = (*MONITORED, "linear", "finetuned")
    print_table(
        f"{asked.screen.stem}: validation split",
        ("job", *columns),
        [(name, *(_shown(each.get(column)) for column in columns)) for name, each in by_job.items()],
    )
    if not asked.no_record:
        command = command_line().replace(asked.images or "DIR", "DIR").replace(str(asked.screen), asked.screen.name)
        write_record(f"screens/{asked.screen.stem}", command, {"screen": screen, "split": "validation", "jobs": by_job})


def identity(recipe: Path, screen: dict[str, Any], name: str) -> str:
    """A name for all that a job's figures depend on, as far as the screen decides it."""
    resolved = load_recipe(recipe, screen["settings"]).to_toml()
    parts = [resolved, screen["seed"], screen["jobs"][name], screen.get("finetune")]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=6).hexdigest()


def job(recipe: Path, screen: dict[str, Any], name: str, images: str | None) -> Iterator[dict[str, Any]]:
    """Train one variant, and judge it."""
    settings = [f"run.seed={screen['seed']}", *screen["settings"], *screen["jobs"][name]]
    if images is not None:
        settings += ["data.use=image-folder", f"data.root={images}"]
    device = choose_device("auto")
    with tempfile.TemporaryDirectory() as folder:
        run = sslkit.train(recipe, settings=settings, runs=folder)
        history = [row for row in run.read_metrics() if row.metric.startswith("monitor/")]
        last = {row.metric.removeprefix("monitor/"): row.value for row in history}
        yield {
            "job": name,
            "steps": run.status.step,
            "knn_by_epoch": [[row.epoch, row.value] for row in history if row.metric == "monitor/knn"],
            **{figure: last[figure] for figure in MONITORED if figure in last},
        }
        yield {"job": name, "linear": linear(RunSubject(run, device))}
        tuning = screen.get("finetune")
        if tuning:
            yield {"job": name, "finetuned": finetuned(RunSubject(run, device), tuning)}
            if name == next(iter(screen["jobs"])):
                yield {"job": SCRATCH, "finetuned": finetuned(RunSubject(run, device, untrained=True), tuning)}


def linear(subject: RunSubject) -> float:
    """A linear probe's accuracy, with the best of a few penalties."""
    train, validation = subject.features("train"), subject.features("validation")
    assert train.labels is not None
    assert validation.labels is not None
    scaling = StandardScaler.fit(train.features)
    fitted = fit_regularisation_path(scaling(train.features), train.labels, len(subject.class_names), PENALTIES)
    held_out = scaling(validation.features)
    return max(topk_accuracy(each.logits(held_out), validation.labels)["top1"] for each in fitted.values())


def finetuned(subject: RunSubject, tuning: dict[str, Any]) -> list[float]:
    """Accuracy after training on a few labels, by seed."""
    train, validation = subject.split("train"), subject.split("validation")
    assert train.labels is not None
    assert validation.labels is not None
    labels, fraction = train.labels.cpu(), min(1.0, tuning["labels"] / len(train.images))
    own = Finetune.Options.model_validate({})
    settings = TrainingSettings(
        tuning["epochs"], own.batch_size, tuning["lr"], own.lr_head, own.weight_decay, own.crop_scale, own.flip_p
    )
    right = []
    for seed in tuning["seeds"]:
        places = nested_subsets(labels, [fraction], seed)[fraction]
        network = train_classifier(
            deepcopy(subject.backbone()), SubsetStore(train.images, places), labels[places], len(subject.class_names),
            subject.context, settings, seed,
        )  # fmt: skip
        right.append(
            topk_accuracy(predict_logits(network, validation.images, subject.context), validation.labels.cpu())["top1"]
        )
    return right


def _shown(value: Any) -> str:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return ", ".join(f"{each:.3f}" if each < 2 else f"{each:.0f}" for each in values)


if __name__ == "__main__":
    main()
