"""Keeps what is not finite away from the weights, without the host waiting for an accelerator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from sslkit.contracts.context import World

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers by their size in bytes."""


class Guard:
    """Undoes a step whose loss or gradient is not finite, and every step after it.

    On processors the host looks, and the optimizer is left without gradients, which every one takes for nothing to do.
    On accelerators it must not wait for an answer: there all weights and buffers are copied before each step, and after
    it the copy or the result is taken by a flag on the device.  A batch normalisation's statistics, a teacher and a
    queue are as they were before the step, too.

    Args:
        method: what is trained; already on its device.
        world: the processes that train together; one that fails stops all.

    Attributes:
        failed: the first step (counted from 1) that was not finite, on the device; 0: there is none.
    """

    def __init__(self, method: nn.Module, world: World) -> None:
        self.method = method
        self.world = world
        self.device = next(method.parameters()).device
        self.host_looks = self.device.type == "cpu"
        self.failed = torch.zeros((), dtype=torch.int64, device=self.device)
        self.kept: dict[str, Tensor] = {}
        self.kept_bits: dict[str, Tensor] = {}
        """Their memory as integers, on accelerators."""

    @torch.no_grad()
    def begin(self) -> None:
        """Called before each step."""
        live = self._live()
        if _shapes(self.kept) != _shapes(live):
            self.kept = {name: torch.empty_like(tensor) for name, tensor in live.items()}
            self.kept_bits = {} if self.host_looks else {name: bits(kept) for name, kept in self.kept.items()}
        for kept, now in by_dtype(self.kept.values(), live.values()):
            torch._foreach_copy_(kept, now)

    @torch.no_grad()
    def judge(self, loss: Tensor, step: int) -> None:
        """Called with the loss of step ``step`` (from 1), and its gradients in place."""
        gradients = [p.grad for p in self.method.parameters() if p.grad is not None]
        good = loss.detach().isfinite()
        if gradients:
            good = good & finite(gradients, host_looks=self.host_looks)
        failing = self.world.max((~good).float()) > 0
        self.failed = torch.where((self.failed == 0) & failing, step, self.failed)
        if self.host_looks and self.failed:
            for parameter in self.method.parameters():
                parameter.grad = None

    @property
    def skips(self) -> bool:
        """Whether the host knows that the step is undone, so that nothing needs to follow it."""
        return self.host_looks and bool(self.failed)

    @torch.no_grad()
    def end(self) -> None:
        """Called after each step."""
        # By name, because a module may put another tensor in the place of a buffer, or make one in its first step.
        live = {name: now for name, now in self._live().items() if name in self.kept}
        if not self.host_looks:
            now = [bits(tensor) for tensor in live.values()]
            select(self.failed == 0, now, [self.kept_bits[name] for name in live])
        elif self.failed:
            for now, kept in by_dtype(live.values(), [self.kept[name] for name in live]):
                torch._foreach_copy_(now, kept)

    def _live(self) -> dict[str, Tensor]:
        """What a step may change: on processors, where the optimizer then does nothing, the buffers."""
        live = dict(self.method.named_buffers())
        if not self.host_looks:
            live |= self.method.named_parameters()
        return live


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def finite(tensors: Iterable[Tensor], *, host_looks: bool) -> Tensor:
    """Whether every number of some floating-point tensors of one device is finite, as a tensor.

    Args:
        tensors: not all of them empty.
        host_looks: whether the host may read values: on processors, and where it waits anyway.
    """
    filled = [tensor for tensor in tensors if tensor.numel()]
    if not host_looks:
        return _finite(torch._foreach_norm(filled, torch.inf))
    # A processor's infinity norm takes twenty times as long: 36 ms, not 2, for the gradients of a ResNet-18.  The
    # Euclidean one overflows where every number is still finite, but seldom.
    usual = _finite(torch._foreach_norm(filled))
    return usual if usual else _finite([extreme for tensor in filled for extreme in (tensor.amax(), tensor.amin())])


def _finite(numbers: Iterable[Tensor]) -> Tensor:
    return torch.stack([number.float() for number in numbers]).isfinite().all()


def bits(tensor: Tensor) -> Tensor:
    """A tensor's memory as integers of the same size."""
    return tensor.view(BITS[tensor.element_size()])


def select(result: Tensor, live: Sequence[Tensor], otherwise: Sequence[Tensor]) -> None:
    """Leave integers as they are where the flag ``result`` is set, else make them those of ``otherwise``.

    With the ``bits`` of other tensors that is exact whatever numbers they hold: NaN times 0 is NaN.  A few kernels for
    any number of tensors; ``otherwise`` is used up.
    """
    for taken, others in by_dtype(live, otherwise):
        flag = result.to(taken[0].dtype)
        torch._foreach_mul_(taken, flag)
        torch._foreach_mul_(others, 1 - flag)
        torch._foreach_add_(taken, others)


def by_dtype(one: Iterable[Tensor], other: Iterable[Tensor]) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
    """Pairs of tensors, apart by the first one's dtype: of one dtype a GPU takes many at once, else one by one."""
    found = defaultdict[torch.dtype, tuple[list[Tensor], list[Tensor]]](lambda: ([], []))
    for first, second in zip(one, other, strict=True):
        firsts, seconds = found[first.dtype]
        firsts.append(first)
        seconds.append(second)
    return found.values()
