"""Checks, on the first batch, that components give what they announced; what slips through trains silently wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.errors import IncompatibleComponentError
from sslkit.recipe.model import Selected


def check_images(assembly: Assembly, images: Tensor) -> None:
    """Refuse images that are not uint8 of the announced shape."""
    found, announced = (images.dtype, tuple(images.shape[1:])), (torch.uint8, tuple(assembly.images.shape))
    if found != announced:
        raise _broken(assembly.recipe.data, f"images are {found[0]} {found[1]}, not {announced[0]} {announced[1]}")


def check_views(assembly: Assembly, made: tuple[Tensor, ...], batch: int) -> None:
    """Refuse views of other shapes than their groups announce, and local groups before global ones."""
    groups, channels = assembly.views.groups, assembly.context.channels
    announced = [(group.count, batch, channels, group.size, group.size) for group in groups]
    found = [tuple(group.shape) for group in made]
    if found != announced:
        raise _broken(assembly.recipe.views, f"views are {found}, but its groups announce {announced}")
    if [group.is_global for group in groups] != sorted((group.is_global for group in groups), reverse=True):
        raise _broken(assembly.recipe.views, "a group of local views comes before one of global views")


@torch.no_grad()
def check_heads(assembly: Assembly, device: torch.device) -> None:
    """Refuse heads whose embeddings or logits are not as announced; leaves every statistic as it was."""
    for selected in assembly.recipe.heads:
        head = assembly.method.heads[selected.name]
        training = head.training
        output = head.eval()(torch.zeros(2, assembly.context.feature_dim, device=device))
        head.train(training)
        found = (tuple(output.embedding.shape[1:]), tuple(logits.shape[1] for logits in output.logits))
        announced = ((head.embedding_dim,), tuple(head.classifiers))
        if found != announced:
            raise _broken(
                selected,
                f"it gives embeddings of {found[0]} and logits of {found[1]}, "
                f"but announces {announced[0]} and {announced[1]}",
            )


def _broken(selected: Selected, what: str) -> IncompatibleComponentError:
    return IncompatibleComponentError(f"{selected.entry}: {what}; this is a fault of {selected.entry.distribution}")
