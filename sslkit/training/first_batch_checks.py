"""Check on the first batch that components return the shapes they declare.

Without these checks, a mismatch could train the wrong network without an error.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.errors import IncompatibleComponentError
from sslkit.recipe.recipe import ComponentSpec


def check_images(assembly: Assembly, images: Tensor) -> None:
    """Check that images are uint8 and have the data set's shape."""
    actual, declared = (images.dtype, tuple(images.shape[1:])), (torch.uint8, tuple(assembly.images.shape))
    if actual != declared:
        raise _mismatch(assembly.recipe.data, f"images are {actual[0]} {actual[1]}, not {declared[0]} {declared[1]}")


def check_views(assembly: Assembly, views: tuple[Tensor, ...], batch_size: int) -> None:
    """Check that views have the shapes that their groups declare, and that global groups come before local groups."""
    groups, channels = assembly.views.groups, assembly.context.channels
    declared = [(group.count, batch_size, channels, group.size, group.size) for group in groups]
    actual = [tuple(group.shape) for group in views]
    if actual != declared:
        raise _mismatch(assembly.recipe.views, f"views are {actual}, but its groups declare {declared}")
    if [group.is_global for group in groups] != sorted((group.is_global for group in groups), reverse=True):
        raise _mismatch(assembly.recipe.views, "a group of local views comes before one of global views")


@torch.no_grad()
def check_heads(assembly: Assembly, device: torch.device) -> None:
    """Check that heads return embeddings and logits of the declared shapes; BatchNorm statistics stay unchanged."""
    for spec in assembly.recipe.heads:
        head = assembly.method.heads[spec.name]
        training = head.training
        output = head.eval()(torch.zeros(2, assembly.context.feature_dim, device=device))
        head.train(training)
        actual = (tuple(output.embedding.shape[1:]), tuple(logits.shape[1] for logits in output.logits))
        declared = ((head.embedding_dim,), tuple(head.classifiers))
        if actual != declared:
            raise _mismatch(
                spec,
                f"it returns embeddings of {actual[0]} and logits of {actual[1]}, "
                f"but declares {declared[0]} and {declared[1]}",
            )


def _mismatch(spec: ComponentSpec, problem: str) -> IncompatibleComponentError:
    return IncompatibleComponentError(f"{spec.entry}: {problem}; this is a bug in {spec.entry.distribution}")
