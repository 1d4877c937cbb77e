"""The momentum-teacher method of BYOL and DINO: the teacher is a moving average of the student."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from pydantic import Field
from torch import Tensor, nn

from sslkit.contracts import options
from sslkit.contracts.context import Context
from sslkit.contracts.method import Batch, Parts
from sslkit.contracts.schedule import cosine_decay
from sslkit.methods.joint_embedding import JointEmbedding, OutputsByHead, forward_views


class MomentumTeacher(JointEmbedding):
    """Joint embedding with a teacher branch, which encodes the global views without gradients.

    The teacher starts as a copy of the backbone and the heads. After each step, the teacher's weights become
    ``m * teacher + (1 - m) * student``. The momentum ``m`` rises from ``momentum`` to 1 along a half cosine. The
    teacher has its own BatchNorm statistics. Metrics and the final weight files use only the student; checkpoints also
    contain the teacher.

    Sources: Grill et al., "Bootstrap your own latent", NeurIPS 2020, arXiv 2006.07733, equation 1 and appendix B; Caron
    et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, arXiv 2104.14294, section 3.1.
    """

    api = 2
    branches = frozenset({"student", "teacher"})
    rate: Tensor
    """Rate of the current step, from its batch."""

    class Options(options.Options):
        momentum: float = Field(0.996, ge=0, le=1)
        """Momentum of the teacher at the start of training; in a short training run use a lower value, such as 0.99."""

    def __init__(self, options: Options, context: Context, parts: Parts) -> None:
        super().__init__(options, context, parts)
        self.momentum = options.momentum
        self.total_steps = context.total_steps
        self.teacher = deepcopy(self.backbone).requires_grad_(False)
        self.teacher_heads = {name: deepcopy(head).requires_grad_(False) for name, head in self.heads.items()}
        # ModuleList instead of ModuleDict, because a head's name may be invalid as a module name.
        self.teacher_head_modules = nn.ModuleList(self.teacher_heads.values())

    def forward_branches(self, batch: Batch, head_names: set[str]) -> Mapping[str, OutputsByHead]:
        """Encode all views with the student and the global views with the teacher."""
        self.rate = batch.scheduled["rate"]
        heads = {name: head for name, head in self.teacher_heads.items() if name in head_names}
        with torch.no_grad():
            targets = forward_views(self.teacher, heads, batch.global_groups)
        return {**super().forward_branches(batch, head_names), "teacher": targets}

    def after_step(self) -> None:
        """Move the teacher's weights towards the student's weights (moving average)."""
        super().after_step()
        student: list[Tensor] = [*self.backbone.parameters(), *self.head_modules.parameters()]
        teacher: list[Tensor] = [*self.teacher.parameters(), *self.teacher_head_modules.parameters()]
        with torch.no_grad():
            # The rate is a tensor, because a CUDA graph would repeat a number.
            torch._foreach_lerp_(teacher, student, [self.rate] * len(teacher))
        for head in self.teacher_heads.values():
            head.after_step()

    def scheduled(self, step: int) -> Mapping[str, float | Tensor]:
        """Return the student's share in the update of the teacher: 1 minus the teacher's momentum."""
        return {"rate": 1 - self.momentum_at(step)}

    def momentum_at(self, step: int) -> float:
        """Return the teacher's momentum at step ``step``, counted from 0."""
        return 1 - (1 - self.momentum) * cosine_decay(step, self.total_steps)
