"""The DINO loss and head: the student predicts the teacher's centred and sharpened output for other views."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated

import torch
from lightly.models.modules.heads import ProjectionHead
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

import sslkit
from sslkit_lightly.duration import Duration

Prototypes = Annotated[int, Field(ge=1, le=10_000_000)]


class DinoHead(sslkit.Head):
    """MLP head that maps features ``[B, D]`` to unit embeddings ``[B, E]`` and cosines ``[B, K]`` with prototypes.

    The MLP has three linear layers with GELU between them, initialised as in lightly's ``DINOProjectionHead``.
    Prototypes are normalised to length 1.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, arXiv 2104.14294,
    section 3.1 and appendix C.
    """

    api = 2

    class Options(sslkit.Options):
        classifiers: tuple[Prototypes, ...] = Field((4096,), min_length=1)
        """Number of prototypes in each set of prototypes; the paper uses 65536 for ImageNet."""

        hidden_dim: int = Field(2048, ge=1, le=100_000)
        """Width of the two hidden layers."""

        embedding_dim: int = Field(256, ge=1, le=100_000)
        """Dimension of the embedding."""

        batch_norm: bool = True
        """Use BatchNorm in the hidden layers: true for convolutional backbones, false for transformers."""

        freeze_prototypes: sslkit.Duration = "1 epochs"
        """How long prototypes stay fixed at the start of training, such as "1 epochs", "300 steps" or "1%"."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding_dim = options.embedding_dim
        self.classifiers = options.classifiers
        self.freezing = Duration(options.freeze_prototypes, context)
        # Not lightly's DINOProjectionHead, because its weight_norm cannot be deep-copied to a teacher.
        hidden = options.hidden_dim
        norms = [nn.BatchNorm1d(hidden) if options.batch_norm else None for _ in range(2)]
        self.mlp = ProjectionHead(
            [
                (context.feature_dim, hidden, norms[0], nn.GELU()),
                (hidden, hidden, norms[1], nn.GELU()),
                (hidden, options.embedding_dim, None, None),
            ]
        )
        for layer in self.mlp.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.prototypes = nn.ParameterList(
            nn.Linear(options.embedding_dim, count, bias=False).weight for count in options.classifiers
        )

    def embed(self, features: Tensor) -> Tensor:
        """Return embeddings ``[B, E]`` of length 1."""
        projected: Tensor = self.mlp(features)
        return functional.normalize(projected.to(self.prototypes[0].dtype))

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Return the cosines ``[B, K]`` with each set of prototypes."""
        with torch.autocast(embedding.device.type, enabled=False):
            return tuple(
                functional.linear(embedding.to(weight.dtype), functional.normalize(weight))
                for weight in self.prototypes
            )

    def phase(self, step: int) -> Hashable:
        """Return the phase of training in step ``step``: whether prototypes are frozen."""
        return not self.freezing.is_over(step)

    def after_backward(self, step: int) -> None:
        """While prototypes are frozen, set their gradients to None, so that the optimizer does not change them."""
        if not self.freezing.is_over(step):
            for parameter in self.prototypes:
                parameter.grad = None


class CentredCrossEntropy(nn.Module):
    """lightly's ``DINOLoss``, with the teacher's temperature as a tensor and a centre averaged over all processes.

    lightly's class converts the temperature to a tensor on the CPU, which a CUDA graph cannot do in each step.

    Args:
        world: the processes of the training run.
        prototypes: number of prototypes K.
        student_temperature: temperature of the student's softmax.
        momentum: momentum of the centre, which is a moving average.
    """

    center: Tensor

    def __init__(self, world: sslkit.World, prototypes: int, student_temperature: float, momentum: float) -> None:
        super().__init__()
        self.world = world
        self.student_temperature = student_temperature
        self.momentum = momentum
        self.register_buffer("center", torch.zeros(1, 1, prototypes))

    def forward(self, teacher: Sequence[Tensor], student: Sequence[Tensor], teacher_temperature: Tensor) -> Tensor:
        """Return the loss of the teacher's and the student's logits ``[B, K]`` of each view, and update the centre."""
        targets, predictions = torch.stack(list(teacher)), torch.stack(list(student))
        target = ((targets - self.center) / teacher_temperature).softmax(-1)
        prediction = (predictions / self.student_temperature).log_softmax(-1)
        loss = -torch.einsum("tbk,sbk->ts", target, prediction)
        loss.fill_diagonal_(0)  # equal views
        pairs = loss.numel() - min(loss.shape)
        self._update_center(targets)
        return loss.sum() / (pairs * targets.shape[1])

    @torch.no_grad()
    def _update_center(self, targets: Tensor) -> None:
        mean = self.world.sum(targets.mean(dim=(0, 1), keepdim=True)) / self.world.size
        self.center.copy_(self.center * self.momentum + mean * (1 - self.momentum))


class Dino(sslkit.Loss):
    """lightly's ``DINOLoss``, averaged over sets of prototypes.

    The loss is the cross-entropy between the teacher's centred softmax for a global view and the student's softmax for
    another view, averaged over all such pairs. The centre is the moving average of the teacher's logits over the
    global batch. As in the authors' code, the teacher's temperature increases linearly, once per epoch, and reaches its
    final value in the last epoch of the warm-up. If the warm-up is given in steps, the temperature increases once per
    step.

    Source: Caron et al., ICCV 2021, arXiv 2104.14294, equations 1 to 4.
    """

    api = 2
    needs = frozenset({"logits", "teacher"})
    min_views = 2

    class Options(sslkit.Options):
        temperature: float = Field(0.1, gt=0)
        """Temperature of the student's softmax."""

        teacher_temperature: float = Field(0.07, gt=0)
        """Temperature of the teacher's softmax after the warm-up."""

        warmup_teacher_temperature: float = Field(0.04, gt=0)
        """Temperature of the teacher's softmax at the start of training."""

        warmup: sslkit.Duration = "30%"
        """Length of the warm-up of the teacher's temperature, such as "30 epochs", "300 steps" or "30%"."""

        center_momentum: float = Field(0.9, ge=0, lt=1)
        """Momentum of the centre, which is a moving average of the teacher's logits."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.options = options
        self.logit_temperature = options.temperature
        self.warmup = Duration(options.warmup, context)
        self.losses = nn.ModuleList(
            CentredCrossEntropy(context.world, count, options.temperature, options.center_momentum)
            for count in context.classifiers
        )

    def teacher_temperature(self, step: int) -> float:
        """Return the temperature of the teacher's softmax in step ``step``, counted from 0."""
        start, end = self.options.warmup_teacher_temperature, self.options.teacher_temperature
        return start + self.warmup.ramp(step) * (end - start)

    def scheduled(self, step: int) -> Mapping[str, float]:
        """Return the temperature of the teacher's softmax."""
        return {"teacher_temperature": self.teacher_temperature(step)}

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        temperature = views.scheduled["teacher_temperature"]
        losses = tuple(
            loss([target.detach() for target in targets], predictions, temperature)
            for loss, targets, predictions in zip(self.losses, views.teacher.logits, views.student.logits, strict=True)
        )
        return sslkit.LossOutput(torch.stack(losses).mean(), per_classifier=losses)
