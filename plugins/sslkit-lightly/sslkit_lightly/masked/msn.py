"""MSN and PMSN: masked views of the student predict the teacher's prototype assignments of an unmasked view."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

import sslkit
from sslkit_lightly.masked.heads import require_classifier_heads
from sslkit_lightly.masked.pixels import widened
from sslkit_lightly.masked.targets import SinkhornTargets, cross_entropy


class Msn(sslkit.MomentumTeacher):
    """Masked siamese network: masked views predict the prototype assignment of the first global view.

    The teacher, a moving average of the student, encodes the first global view without a mask. The student encodes all
    other views, the anchors, and skips a random part of their patches. Both embeddings are compared with the student's
    prototypes. The loss is the cross-entropy of the anchors' class probabilities, with the teacher's as targets, plus a
    term that is low if the anchors of the global batch use all prototypes equally. It equals lightly's ``MSNLoss``,
    which computes the second term from the batch of one process.

    Source: Assran et al., "Masked Siamese Networks for Label-Efficient Learning", ECCV 2022, arXiv 2204.07141,
    equation 1.

    Raises:
        sslkit.InputError: there is more than one head, or the head has no classifiers.
    """

    api = 2
    own_objective = True
    needs = frozenset({"tokens", "logits"})
    min_views = 2

    class Options(sslkit.MomentumTeacher.Options):
        temperature: float = Field(0.1, gt=0)
        """Temperature of the student's softmax."""

        target_temperature: float = Field(0.025, gt=0)
        """Temperature of the teacher's softmax; lower values give sharper targets."""

        sinkhorn_iterations: int = Field(3, ge=0, le=100)
        """Number of Sinkhorn iterations, which make the targets use all prototypes equally; 0: none."""

        mask_ratio: float = Field(0.15, ge=0, lt=1)
        """Fraction of the patches of each anchor that the student skips."""

        prior_weight: float = Field(1.0, ge=0)
        """Weight of the term that compares the use of the prototypes with its prior."""

    def __init__(self, options: Options, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.options, self.context = options, context
        self.logit_temperature = options.temperature
        require_classifier_heads(self.heads, 1)
        self.head_name = next(iter(self.heads))
        self.patches = (max((context.view_size, *context.view_sizes)) // self.backbone.patch_size) ** 2
        self.sinkhorn = SinkhornTargets(context.world, options.sinkhorn_iterations)

    def scheduled(self, step: int) -> Mapping[str, float | Tensor]:
        """Return the teacher's update rate, and a random number for each patch of each anchor, ``[B, A, N]``.

        N is the number of patches of the largest view. The student encodes the patches with the largest numbers.
        """
        context = self.context
        generator = sslkit.seeded_generator(context.seed, "methods", context.steps_before + step)
        order = torch.rand(context.batch_size, context.view_count - 1, self.patches, generator=generator)
        return {**super().scheduled(step), "order": context.own_images(order)}

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        """Return the loss of all anchors, and log its two terms."""
        self.rate = batch.scheduled["rate"]
        head, temperature = self.heads[self.head_name], self.options.temperature
        with torch.no_grad():
            target = self.teacher(batch.views[0][0])
            wanted = head.classify(self.teacher_heads[self.head_name].embed(target))
        anchors = head(self._anchor_features(batch)).logits
        predictions, priors = [], []
        for theirs, ours in zip(wanted, anchors, strict=True):
            scores = widened(ours) / temperature
            targets = self._targets(widened(theirs))
            predictions.append(cross_entropy(targets.repeat(len(scores) // len(targets), 1), scores).mean())
            priors.append(self.prior_loss(self._mean(scores.softmax(1).mean(0))))
        losses = [
            prediction + self.options.prior_weight * prior
            for prediction, prior in zip(predictions, priors, strict=True)
        ]
        terms = {"prediction": torch.stack(predictions).mean(), "prior": torch.stack(priors).mean()}
        return sslkit.MethodOutput(
            torch.stack(losses).mean(),
            {name: value.detach() for name, value in terms.items()},
            {self.head_name: tuple(loss.detach() for loss in losses)},
        )

    def prior_loss(self, used: Tensor) -> Tensor:
        """Return ln K minus the entropy of the mean class probabilities ``[K]``; 0 if all prototypes are used equally.

        Args:
            used: tensor ``[K]``, the mean class probabilities of the anchors of the global batch.
        """
        negative_entropy: Tensor = torch.special.xlogy(used, used).sum()
        return math.log(len(used)) + negative_entropy

    @torch.no_grad()
    def _targets(self, logits: Tensor) -> Tensor:
        """Return target probabilities ``[B, K]`` of the teacher's logits ``[B, K]``."""
        scores = (logits / self.options.target_temperature).log_softmax(1)
        if not self.options.sinkhorn_iterations:
            return scores.exp()
        one = torch.ones_like(scores[:, 0])
        targets: Tensor = self.sinkhorn(scores, one[0], one)
        return targets

    def _mean(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes."""
        return self.context.world.sum(values) / self.context.world.size

    def _anchor_features(self, batch: sslkit.Batch) -> Tensor:
        """Return the student's features ``[A * B, D]`` of the A anchors of B images."""
        features, start = [], 0
        for views in (batch.views[0][1:], *batch.views[1:]):
            patches = (views.shape[-1] // self.backbone.patch_size) ** 2
            kept = max(1, int(patches * (1 - self.options.mask_ratio)))
            order = batch.scheduled["order"][:, start : start + len(views), :patches]
            keep = order.transpose(0, 1).flatten(0, 1).topk(kept, dim=1)[1]
            start += len(views)
            if len(views):
                features.append(self.backbone.tokens(views.flatten(0, 1), keep=keep).features)
        return torch.cat(features)


class Pmsn(Msn):
    """MSN with a power law as the prior over prototypes, for data whose classes differ in size.

    The second term of the loss is the Kullback-Leibler divergence ``KL(prior || mean)``, as in lightly's ``PMSNLoss``;
    ``mean`` contains the mean class probabilities of the anchors. There are no Sinkhorn iterations by default, because
    they would make targets use all prototypes equally.

    Source: Assran et al., "The Hidden Uniform Cluster Prior in Self-Supervised Learning", ICLR 2023, arXiv 2210.07277,
    section 5.
    """

    class Options(Msn.Options):
        sinkhorn_iterations: int = Field(0, ge=0, le=100)
        """Number of Sinkhorn iterations, which make the targets use all prototypes equally; 0: none."""

        prior_exponent: float = Field(0.25, ge=0)
        """Exponent of the power law: the prior of prototype k is proportional to ``k ** -prior_exponent``."""

    def __init__(self, options: Options, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.prior_exponent = options.prior_exponent

    def prior_loss(self, used: Tensor) -> Tensor:
        """Return the divergence ``KL(prior || used)`` of mean class probabilities ``used`` ``[K]``; at least 0."""
        ranks = torch.arange(1, len(used) + 1, device=used.device, dtype=used.dtype)
        prior = ranks**-self.prior_exponent
        prior = prior / prior.sum()
        divergence: Tensor = (prior * (prior.log() - used.clamp(min=torch.finfo(used.dtype).tiny).log())).sum()
        return divergence
