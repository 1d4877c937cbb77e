"""Train the head of a run again, with a user's corrections as labels, in a new run.

The backbone does not change, so training needs only features and takes seconds. For training images that the user
moved, the target is the corrected class. For the others, it is the class probabilities that the run gives them, summed
over merged classes. Images that are outliers or ignored are left out. Images of other splits are not used, so that
results on test images stay valid; their corrections are only counted.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sslkit.assembly.build_network import build_network
from sslkit.contracts.head import Head
from sslkit.data.seeds import seed_global
from sslkit.errors import InputError
from sslkit.evaluation.clustering_metrics import cluster_scores
from sslkit.explore.run_images import BLOCK, OnProgress, load_run_images
from sslkit.explore.workbench import Workbench
from sslkit.features.extraction import classify_features, device_of
from sslkit.files import to_json, write_atomic
from sslkit.recipe.load import load_recipe
from sslkit.recipe.recipe import Recipe
from sslkit.runs.class_names import write_class_names
from sslkit.runs.metrics_file import HEADER
from sslkit.runs.run import Run
from sslkit.runs.weights import read_metadata, save_weights
from sslkit.runs.weights_metadata import context_from_metadata
from sslkit.trained.network import TrainedNetwork

STEPS = 500
"""Number of optimizer steps."""

BATCH_SIZE = 512
"""Number of images in a step."""

LEARNING_RATE = 1e-3
"""Learning rate of AdamW at the first step; it decreases to 0 (cosine)."""

CORRECTED_WEIGHT = 10.0
"""Weight of a moved image in the loss, compared with an image that the user did not correct."""


@dataclass(frozen=True)
class CorrectedRun:
    """A run whose head was trained with corrections.

    Attributes:
        run: the new run.
        moved: number of training images whose corrected class was used as a label.
        left_out: number of training images that were left out as outliers or ignored.
        unused: number of corrected images of other splits, which were not used.
        classes: number of classes.
        followed: share of the moved images that the new head assigns to their corrected class.
        changed: number of images of all splits whose class changed, apart from the moved images.
        before: one-to-one accuracy of the old head on the labelled test images; None if there are none.
        after: the same accuracy for the new head.
    """

    run: Run
    moved: int
    left_out: int
    unused: int
    classes: int
    followed: float
    changed: int
    before: float | None
    after: float | None


def train_corrected(run: Run, runs: Path, device: str, on_progress: OnProgress) -> CorrectedRun:
    """Train the head of a finished run again with its corrections, in a new run of the same name.

    Args:
        run: the run, corrected with ``sslkit explore``.
        runs: folder of all runs.
        device: device that computes features and trains the head.
        on_progress: called with a stage, the number of completed items and the number of all items.

    Raises:
        InputError: the run has no corrections, more than one head, or fewer than two classes with training images.
        RunError: the run has not finished, it is open in ``sslkit explore``, or its files are damaged.
    """
    images = load_run_images(run, device, on_progress)
    bench = Workbench(run, images)
    try:
        if not bench.history.done:
            raise InputError(f"{run.name} has no corrections: make some with `sslkit explore {run.path}`")
        trained_on = images.splits.index("pretrain" if "pretrain" in images.splits else "train")
        in_training = images.split == trained_on
        used = in_training & (bench.current >= 0)
        kept = [number for number in bench.class_numbers() if bool((bench.current[used] == number).any())]
        if len(kept) < 2:
            raise InputError(f"{run.name} has {len(kept)} class with training images: two are needed")
        names = [bench.names.get(number, "") for number in kept]
        leaders = torch.tensor([bench.leader(number) for number in range(images.classes)])
        moved = bench.corrected & used
        targets = _targets(images.logits, images.temperature, leaders, bench.current, moved, kept)
    finally:
        bench.close()
    network = TrainedNetwork(run, device)
    features = torch.cat([network.frozen.features(store) for store in images.stores])
    recipe, head = _build_head(run, network, len(kept))
    weights = torch.where(moved, CORRECTED_WEIGHT, 1.0)
    _fit(head, features[used], targets[used], weights[used], images.temperature, on_progress)
    logits = classify_features(head, features, 0)
    assert logits is not None
    assigned = logits.argmax(1)
    new = _write_run(run, runs, recipe, network, head, names, int(bench.corrected.sum()))
    position = torch.full((max(kept[-1], images.classes - 1) + 1,), -1)
    position[kept] = torch.arange(len(kept))
    before = position[bench.discovered]
    test = (images.split == images.splits.index("test")) & (images.labels >= 0) if "test" in images.splits else None
    return CorrectedRun(
        run=new,
        moved=int(moved.sum()),
        left_out=int((in_training & ~used).sum()),
        unused=int((bench.corrected & ~in_training).sum()),
        classes=len(kept),
        followed=float((assigned == targets.argmax(1))[moved].float().mean()) if bool(moved.any()) else 1.0,
        changed=int(((assigned != before) & ~moved).sum()),
        before=_accuracy(bench.discovered, images.labels, test, len(images.label_names)),
        after=_accuracy(assigned, images.labels, test, len(images.label_names)),
    )


def _targets(
    logits: Tensor, temperature: float, leaders: Tensor, current: Tensor, moved: Tensor, kept: list[int]
) -> Tensor:
    """Return target probabilities ``[N, len(kept)]``: one-hot for moved images, else those of the run."""
    size = max(int(leaders.max()), kept[-1]) + 1
    column = torch.full((size,), -1)
    column[kept] = torch.arange(len(kept))
    parts = []
    for part in logits.split(BLOCK):
        probabilities = (part / temperature).softmax(1)
        merged = torch.zeros(len(part), size).index_add_(1, leaders, probabilities)[:, kept]
        parts.append(merged / merged.sum(1, keepdim=True).clamp(min=1e-12))
    targets = torch.cat(parts)
    targets[moved] = nn.functional.one_hot(column[current[moved]], len(kept)).float()
    return targets


def _build_head(run: Run, network: TrainedNetwork, classes: int) -> tuple[Recipe, Head]:
    """Return the recipe of the new run, and its head with random weights."""
    if len(network.recipe.heads) != 1:
        raise InputError(f"{run.name} has {len(network.recipe.heads)} heads: corrections need a run with one head")
    recipe = load_recipe(run.recipe, [f"head.classifiers=[{classes}]", "evaluation.classifier=0"])
    seed_global(recipe.run.seed)
    context = context_from_metadata(network.metadata["context"], restoring=True)
    _, _, heads = build_network(recipe, replace(context, classifiers=(classes,)))
    return recipe, heads[recipe.heads[0].name].to(device_of(network.backbone))


def _write_run(
    run: Run, runs: Path, recipe: Recipe, network: TrainedNetwork, head: Head, names: list[str], corrections: int
) -> Run:
    """Write the folder of the new run."""
    new, old = Run.create(runs, run.path.parent.name), run.status
    record = json.loads(run.provenance.read_text()) | {
        "command": sys.argv,
        "corrected_from": {"run": run.name, "images": corrections},
    }
    write_atomic(new.recipe, recipe.to_toml())
    write_atomic(new.provenance, to_json(record))
    write_atomic(new.metrics, HEADER)
    write_class_names(new, names)
    if run.typical_images.exists():
        write_atomic(new.typical_images, run.typical_images.read_bytes())
    metadata = read_metadata(run.heads) | {"run": new.name, "classifier": 0, "classifiers": [len(names)]}
    save_weights(network.backbone, new.backbone, read_metadata(run.backbone) | {"run": new.name})
    save_weights(nn.ModuleList([head]), new.heads, metadata)
    new.write_status("finished", old.steps, old.steps, old.epochs, old.epochs)
    return new


def _fit(
    head: Head, features: Tensor, targets: Tensor, weights: Tensor, temperature: float, on_progress: OnProgress
) -> None:
    """Minimise the weighted cross-entropy of the head's class probabilities with targets ``[M, K]`` of M images."""
    device = device_of(head)
    optimizer = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(0)
    head.train()
    for step in range(STEPS):
        # A fixed batch size, because BatchNorm refuses a batch of one image.
        batch = torch.randint(len(features), (BATCH_SIZE,), generator=generator)
        logits = head(features[batch].to(device)).logits[0] / temperature
        losses = nn.functional.cross_entropy(logits, targets[batch].to(device), reduction="none")
        weight = weights[batch].to(device)
        loss = (losses * weight).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        head.after_step()
        if step % 10 == 0:
            on_progress("training the head", step, STEPS)
    head.eval().requires_grad_(False)


def _accuracy(assigned: Tensor, labels: Tensor, test: Tensor | None, label_count: int) -> float | None:
    """Return the one-to-one accuracy on the test images; None if there are no labelled test images."""
    if test is None or not bool(test.any()):
        return None
    numbers, index = assigned[test].unique(return_inverse=True)
    return float(cluster_scores(index, labels[test], max(len(numbers), label_count), label_count)["acc"])
