"""Dry run of a recipe: build all components and run one batch, without training and without a run folder."""

from __future__ import annotations

import copy
import resource
import sys
from typing import Any

import torch

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.method import Batch, Method
from sslkit.device.hardware import Hardware
from sslkit.device.out_of_memory import explain_out_of_memory
from sslkit.recipe.recipe import Recipe
from sslkit.runs.run import Run
from sslkit.training.continuation import keep_classifier, start_after
from sslkit.training.distributed.launch import launch
from sslkit.training.distributed.processes import Processes
from sslkit.training.events import Reporter
from sslkit.training.fit import MEMORY_OPTION
from sslkit.training.learner import Learner
from sslkit.training.preparation import prepare
from sslkit.training.step.training_step import autocast


def dry_run(recipe: Recipe, reporter: Reporter, parent: Run | None = None) -> dict[str, Any]:
    """Build a recipe's components, run one batch, and return shapes, parameter counts, memory and steps.

    Args:
        recipe: a checked recipe.
        reporter: receives notes.
        parent: a finished run whose backbone and heads initialise the network.

    Returns:
        Mapping with these keys; shapes and memory are those of the main process:

        - ``hardware``, ``processes``, ``data``, ``steps_per_epoch`` and ``steps``
        - ``views`` and ``outputs``: shapes
        - ``modules``: number of parameters of each component; ``method`` counts the remaining parameters, such as a
          teacher's
        - ``loss``: loss of the first batch
        - ``memory_bytes``: on a GPU, peak memory of one forward and backward pass; on a CPU, peak memory of the whole
          process
    """
    return launch(_dry_run, keep_classifier(recipe, parent), reporter, parent)


def _dry_run(recipe: Recipe, reporter: Reporter, parent: Run | None) -> dict[str, Any]:
    hardware, assembly, processes = prepare(recipe, reporter, start=start_after(parent))
    with explain_out_of_memory(recipe.document, MEMORY_OPTION, "a step"):
        return _run_batch(hardware, assembly, processes)


def _run_batch(hardware: Hardware, assembly: Assembly, processes: Processes) -> dict[str, Any]:
    context, method = assembly.context, assembly.method
    learner = Learner(assembly, hardware).to(hardware.device)
    batch = next(iter(assembly.loader))
    views = learner.make_views(batch, step=0)
    index = batch.indices.to(hardware.device)
    with autocast(hardware):
        # A copy, so that BatchNorm statistics do not count these images twice. Gradients would need extra memory.
        with torch.no_grad():
            features = list(copy.deepcopy(method.backbone)(views[0].flatten(0, 1)).shape)
        output = method(Batch(views, context.global_view_count, index, 0, 0))
    output.loss.backward()
    loss = processes.world.sum(output.loss.detach()) / processes.world.size
    return {
        "hardware": {"device": hardware.device, "precision": hardware.precision, "reason": hardware.reason},
        "processes": processes.world.size,
        "data": {"images": len(assembly.images), "shape": list(assembly.images.shape)},
        "views": [list(group.shape) for group in views],
        "modules": {
            "backbone": _count_parameters(method.backbone),
            **{f"head {name}": _count_parameters(head) for name, head in method.heads.items()},
            **{f"loss {name}": _count_parameters(loss) for name, loss in method.losses.items()},
            "method": _count_own_parameters(method),
        },
        "outputs": {
            "features": features,
            "embedding": [features[0], context.embedding_dim] if context.embedding_dim else [],
            "classifiers": {name: list(head.classifiers) for name, head in method.heads.items()},
        },
        "loss": float(loss),
        "memory_bytes": _peak_memory(hardware),
        "steps_per_epoch": context.steps_per_epoch,
        "steps": context.total_steps,
    }


def _count_own_parameters(method: Method) -> int:
    """Return the number of parameters of the method that do not belong to the backbone, a head or a loss."""
    parts = torch.nn.ModuleList([method.backbone, method.head_modules, method.loss_modules])
    others = {id(parameter) for parameter in parts.parameters()}
    return sum(parameter.numel() for parameter in method.parameters() if id(parameter) not in others)


def _count_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _peak_memory(hardware: Hardware) -> int:
    if hardware.device == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB on Linux
