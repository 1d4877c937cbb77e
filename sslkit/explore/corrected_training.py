"""Train the head of a run again, with a user's corrections as labels, in a new run.

The backbone does not change, so training needs only features and takes seconds. For training images that the user
moved, the target is the corrected class. For other training images, the targets are the class probabilities in the old
run, summed over merged classes. Images that are outliers or ignored are left out. Images of other splits are not used,
so that results on test images stay valid.

The new run starts with the corrections of the old run: moved images keep their corrected class, and outliers and
ignored images keep their mark.
"""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sslkit.assembly.build_network import build_heads
from sslkit.contracts.head import Head
from sslkit.data.seeds import seed_global
from sslkit.errors import InputError
from sslkit.evaluation.clustering_metrics import cluster_scores
from sslkit.explore.corrected_run import CorrectedRun, translate_corrections, write_corrected_run
from sslkit.explore.network_outputs import BLOCK, OnProgress
from sslkit.explore.run_images import RunImages, load_run_images
from sslkit.explore.workbench import Workbench
from sslkit.features.extraction import classify_features, device_of
from sslkit.recipe.load import load_recipe
from sslkit.recipe.recipe import Recipe
from sslkit.runs.run import Run
from sslkit.runs.weights_metadata import context_from_metadata, read_backbone_metadata

STEPS = 500
"""Number of optimizer steps."""

MEASURED_STEPS = 5
"""Number of steps from whose time the duration of training is estimated."""

BATCH_SIZE = 512
"""Number of images in a step."""

LEARNING_RATE = 1e-3
"""Learning rate of AdamW at the first step; it decreases to 0 (cosine)."""

CORRECTED_WEIGHT = 10.0
"""Weight of a moved image in the loss, compared with an image that the user did not correct."""


def train_corrected(run: Run, runs: Path, device: str, on_progress: OnProgress) -> CorrectedRun:
    """Train the head of a finished run again with its corrections, in a new run of the same name.

    Args:
        run: the run, corrected with ``sslkit explore``.
        runs: folder of all runs.
        device: device that computes features and trains the head.
        on_progress: called with the name of the current work, and the numbers of completed and of all items.

    Raises:
        InputError: the run has no corrections, more than one head, or fewer than two classes with training images.
        RunError: the run has not finished, it is open in ``sslkit explore``, or its files are damaged.
    """
    bench = Workbench(run, load_run_images(run, device, on_progress))
    try:
        return train_head(bench, runs, device, on_progress)
    finally:
        bench.close()


def train_head(bench: Workbench, runs: Path, device: str, on_progress: OnProgress) -> CorrectedRun:
    """Train the head of a workbench's run again with the current corrections; see ``train_corrected``.

    Corrections that the user makes during training have no effect on the result. If ``on_progress`` raises an
    exception, no new run is created.
    """
    run, images = bench.run, bench.images
    with bench.lock:
        if not bench.history.done:
            raise InputError(f"{run.name} has no corrections: make some with `sslkit explore {run.path}`")
        current, corrected, discovered = bench.current, bench.corrected, bench.discovered
        numbers, names = bench.class_numbers(), dict(bench.names)
        leaders = torch.tensor([bench.leader(number) for number in range(images.classes)])
        rows = list(bench.history.image_corrections().values())
        merged = {row.number: bench.leader(row.number) for row in rows}
    trained_on = images.splits.index("pretrain" if "pretrain" in images.splits else "train")
    in_training = images.split == trained_on
    used = in_training & (current >= 0)
    kept = [number for number in numbers if bool((current[used] == number).any())]
    if len(kept) < 2:
        raise InputError(f"{run.name} has {len(kept)} class with training images: two are needed")
    moved = corrected & used
    targets = _targets(images.logits, images.temperature, leaders, current, moved, kept)
    recipe, head = _build_head(run, len(kept), device)
    _fit(head, images, used.nonzero().flatten(), targets, torch.where(moved, CORRECTED_WEIGHT, 1.0), on_progress, STEPS)
    logits = _classify(head, images, on_progress)
    assigned = logits.argmax(1)
    kept_names = [names.get(number, "") for number in kept]
    corrections, added = translate_corrections(rows, merged, kept)
    added_names = {new: names[old] for old, new in added.items() if old in names}
    new = write_corrected_run(run, runs, recipe, head, kept_names, added_names, corrections, int(corrected.sum()))
    position = torch.full((max(kept[-1], images.classes - 1) + 1,), -1)
    position[kept] = torch.arange(len(kept))
    test = (images.split == images.splits.index("test")) & (images.labels >= 0) if "test" in images.splits else None
    return CorrectedRun(
        run=new,
        moved=int(moved.sum()),
        left_out=int((in_training & ~used).sum()),
        unused=int((corrected & ~in_training).sum()),
        classes=len(kept),
        followed=float((assigned == targets.argmax(1))[moved].float().mean()) if bool(moved.any()) else 1.0,
        changed=((assigned != position[discovered]) & ~moved).nonzero().flatten(),
        before=_accuracy(discovered, images.labels, test, len(images.label_names)),
        after=_accuracy(assigned, images.labels, test, len(images.label_names)),
        logits=logits,
    )


def estimate_seconds(bench: Workbench, device: str) -> float:
    """Return the estimated duration of ``train_head`` in seconds, from a few steps with a head that is not saved.

    Raises:
        InputError: the run has more than one head.
    """
    images = bench.images
    head = _build_head(bench.run, images.classes, device)[1]
    data = images, torch.arange(len(images)), images.logits.softmax(1), torch.ones(len(images))
    _fit(deepcopy(head), *data, lambda *_: None, 1)  # the first step allocates memory
    started = time.perf_counter()
    _fit(head, *data, lambda *_: None, MEASURED_STEPS)
    float(next(head.parameters()).sum())  # waits for the device
    assigning = len(images) / BATCH_SIZE / 3  # a forward pass takes about a third of a step
    return (time.perf_counter() - started) / MEASURED_STEPS * (STEPS + assigning)


def _targets(
    logits: Tensor, temperature: float, leaders: Tensor, current: Tensor, moved: Tensor, kept: list[int]
) -> Tensor:
    """Return target probabilities ``[N, len(kept)]`` for training the new head.

    They are one-hot for moved images. For other images, they are the old head's probabilities, summed over merged
    classes and normalised over the classes ``kept``.
    """
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


def _build_head(run: Run, classes: int, device: str) -> tuple[Recipe, Head]:
    """Return the recipe of the new run, and its head with random weights."""
    recipe = load_recipe(run.recipe, [f"head.classifiers=[{classes}]", "evaluation.classifier=0"])
    if len(recipe.heads) != 1:
        raise InputError(f"{run.name} has {len(recipe.heads)} heads: corrections need a run with one head")
    seed_global(recipe.run.seed)
    metadata = read_backbone_metadata(run.backbone)
    context = context_from_metadata(metadata["context"], restoring=True)
    context = replace(context, feature_dim=metadata["feature_dim"], classifiers=(classes,))
    return recipe, build_heads(recipe, context)[recipe.heads[0].name].to(device)


def _fit(
    head: Head,
    images: RunImages,
    used: Tensor,
    targets: Tensor,
    weights: Tensor,
    on_progress: OnProgress,
    steps: int,
) -> None:
    """Minimise the weighted cross-entropy of the head's class probabilities with the targets ``[N, K]``.

    Args:
        head: the head.
        images: the N images.
        used: int64 ``[M]``, indices of the images to train with.
        targets: target probabilities ``[N, K]``.
        weights: weight of each image in the loss, ``[N]``.
        on_progress: called every 10 steps.
        steps: number of steps.
    """
    device = device_of(head)
    optimizer = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(0)
    head.train()
    for step in range(steps):
        if step % 10 == 0:
            on_progress("training the classifier", step, steps)
        # A fixed batch size, because BatchNorm refuses a batch of one image.
        batch = used[torch.randint(len(used), (BATCH_SIZE,), generator=generator)]
        logits = head(images.backbone_features(batch).to(device)).logits[0] / images.temperature
        losses = nn.functional.cross_entropy(logits, targets[batch].to(device), reduction="none")
        weight = weights[batch].to(device)
        loss = (losses * weight).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        head.after_step()
    head.eval().requires_grad_(False)


def _classify(head: Head, images: RunImages, on_progress: OnProgress) -> Tensor:
    """Return the logits ``[N, K]`` of all images."""
    parts = []
    for block in torch.arange(len(images)).split(BLOCK):
        on_progress("assigning classes", int(block[0]), len(images))
        logits = classify_features(head, images.backbone_features(block), 0)
        assert logits is not None
        parts.append(logits)
    return torch.cat(parts)


def _accuracy(assigned: Tensor, labels: Tensor, test: Tensor | None, label_count: int) -> float | None:
    """Return the one-to-one accuracy on the test images, or None if there are no labelled test images."""
    if test is None or not bool(test.any()):
        return None
    numbers, index = assigned[test].unique(return_inverse=True)
    return float(cluster_scores(index, labels[test], max(len(numbers), label_count), label_count)["acc"])
