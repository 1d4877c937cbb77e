"""The method of BYOL and DINO: a student learns from a teacher that is a moving average of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy

import torch
from pydantic import Field
from torch import Tensor, nn

from sslkit.contracts import options
from sslkit.contracts.context import Context
from sslkit.contracts.method import Batch, Parts
from sslkit.methods.joint_embedding import Branches, JointEmbedding, forward_views


class MomentumTeacher(JointEmbedding):
    """Losses are also given the outputs of a teacher, without gradient, for the global views.

    The teacher starts as a copy of backbone and heads.  After each step its weights become ``m * teacher + (1 - m) *
    student``, where ``m`` rises from ``momentum`` to 1 along half a cosine.  Statistics of BatchNorm are its own.  What
    is monitored and saved is the student.

    Sources: Grill et al., "Bootstrap your own latent", NeurIPS 2020, arXiv 2006.07733, equation 1 and appendix B; Caron
    et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, arXiv 2104.14294, section 3.1.
    """

    api = 1
    branches = frozenset({"student", "teacher"})

    class Options(options.Options):
        momentum: float = Field(0.996, ge=0, le=1)
        """The teacher's momentum at the start; short trainings want less, such as 0.99."""

    def __init__(self, options: Options, context: Context, parts: Parts) -> None:
        super().__init__(options, context, parts)
        self.momentum = options.momentum
        self.total_steps = context.total_steps
        self.teacher = deepcopy(self.backbone).requires_grad_(False)
        self.teacher_heads = {name: deepcopy(head).requires_grad_(False) for name, head in self.heads.items()}
        # Registered by place: a name may be anything.
        self.teacher_head_modules = nn.ModuleList(self.teacher_heads.values())
        self.step = 0

    def forward_branches(self, batch: Batch, read: set[str]) -> Mapping[str, Branches]:
        """Student and teacher."""
        self.step = batch.step
        heads = {name: head for name, head in self.teacher_heads.items() if name in read}
        with torch.no_grad():
            targets = forward_views(self.teacher, heads, _first(batch, batch.global_views))
        return {**super().forward_branches(batch, read), "teacher": targets}

    def after_step(self) -> None:
        """Move the teacher towards the student."""
        super().after_step()
        student: list[Tensor] = [*self.backbone.parameters(), *self.head_modules.parameters()]
        teacher: list[Tensor] = [*self.teacher.parameters(), *self.teacher_head_modules.parameters()]
        with torch.no_grad():
            torch._foreach_lerp_(teacher, student, 1 - self.momentum_at(self.step))
        for head in self.teacher_heads.values():
            head.after_step()

    def momentum_at(self, step: int) -> float:
        """The teacher's momentum in optimizer step ``step`` (from 0)."""
        return 1 - (1 - self.momentum) * (math.cos(math.pi * step / self.total_steps) + 1) / 2

    def on_weights_loaded(self) -> None:
        """Make the teacher a copy of the student again."""
        self.teacher.load_state_dict(self.backbone.state_dict())
        self.teacher_head_modules.load_state_dict(self.head_modules.state_dict())


def _first(batch: Batch, count: int) -> list[Tensor]:
    """The groups of the batch's first ``count`` views."""
    groups = []
    for views in batch.views:
        if count > 0:
            groups.append(views[:count])
            count -= len(views)
    return groups
