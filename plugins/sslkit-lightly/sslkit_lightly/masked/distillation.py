"""iBOT and DINOv2: the student predicts the teacher's outputs for other views, and for masked patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import sslkit
from sslkit_lightly.duration import Duration
from sslkit_lightly.masked.heads import require_classifier_heads
from sslkit_lightly.masked.masks import block_masks, masked_first
from sslkit_lightly.masked.pixels import at_index, widened
from sslkit_lightly.masked.targets import CentredTargets, SinkhornTargets, cross_entropy, koleo

Weight = Annotated[float, Field(ge=0)]


class Ibot(sslkit.MomentumTeacher):
    """iBOT: DINO on images, and the same loss on masked patches of global views.

    The student encodes global views whose masked patches are replaced with a mask token, and local views. The teacher,
    a moving average of the student, encodes global views without masks. The loss is the sum of two cross-entropies,
    each with the teacher's class probabilities as targets:

    * on images: each pair of a global view of the teacher and another view of the student;
    * on patches: the student's and the teacher's output for each masked patch, averaged over the masked patches of a
      view, then over all views. This is lightly's ``IBOTPatchLoss``.

    The fraction ``masked_views`` of the global views has masks, which are unions of random blocks. The fractions of
    masked patches are spread evenly between the two values of ``mask_ratio``. The first head of the recipe reads
    features of images. A second head reads patches; without a second head, the first head reads both.

    Source: Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", ICLR 2022, arXiv 2111.07832, equations 1
    to 3.

    Raises:
        sslkit.InputError: there are more than two heads, or a head has no classifiers.
        sslkit.OptionError: no patch can be masked.
    """

    api = 2
    own_objective = True
    needs = frozenset({"tokens", "logits"})
    min_views = 2

    class Options(sslkit.MomentumTeacher.Options):
        temperature: float = Field(0.1, gt=0)
        """Temperature of the student's softmax."""

        teacher_temperature: float = Field(0.07, gt=0)
        """Temperature of the teacher's softmax after the warm-up."""

        warmup_teacher_temperature: float = Field(0.04, gt=0)
        """Temperature of the teacher's softmax at the start of training."""

        warmup: sslkit.Duration = "30%"
        """Length of the warm-up of the teacher's temperature, such as "30 epochs", "300 steps" or "30%"."""

        targets: Literal["centred", "sinkhorn"] = "centred"
        """How the teacher's outputs become targets: minus a moving average ("centred"), or assigned so that all
        prototypes are used equally ("sinkhorn")."""

        center_momentum: float = Field(0.9, ge=0, lt=1)
        """Momentum of the centre, with centred targets."""

        masked_views: float = Field(0.5, ge=0, le=1)
        """Share of the global views that have masks."""

        mask_ratio: tuple[float, float] = (0.1, 0.5)
        """Smallest and largest share of masked patches in a masked view, in [0, 1]."""

        patch_weight: Weight = 1.0
        """Weight of the loss on patches; the loss on images has weight 1."""

        koleo_weight: Weight = 0.0
        """Weight of the KoLeo loss, which spreads the student's features of each global view over the unit sphere."""

    def __init__(self, options: Options, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.options, self.context = options, context
        self.logit_temperature = options.temperature
        require_classifier_heads(self.heads, 2)
        low, high = options.mask_ratio
        self.side = context.view_size // self.backbone.patch_size
        self.most = int(high * self.side**2)
        if not 0 <= low <= high <= 1 or self.most < 1:
            raise sslkit.OptionError("mask_ratio", f"must be two increasing shares of {self.side**2} patches, 0 to 1")
        self.image_head, self.patch_head = next(iter(self.heads)), list(self.heads)[-1]
        self.warmup = Duration(options.warmup, context)
        self.mask_token = nn.Parameter(torch.zeros(context.feature_dim))
        self.image_targets = self._make_targets(self.image_head)
        self.patch_targets = self._make_targets(self.patch_head)

    def _make_targets(self, head: str) -> nn.ModuleList:
        world, options = self.context.world, self.options
        return nn.ModuleList(
            SinkhornTargets(world, 3)
            if options.targets == "sinkhorn"
            else CentredTargets(world, count, options.center_momentum)
            for count in self.heads[head].classifiers
        )

    def no_weight_decay(self) -> frozenset[str]:
        """Return the name of the mask token, which gets no weight decay."""
        return frozenset({"mask_token"})

    def scheduled(self, step: int) -> Mapping[str, float | Tensor]:
        """Return the teacher's update rate and temperature, and the masks of the N patches of each global view.

        Masks are a bool tensor ``[B, V, N]`` for V global views of B images; True for masked patches.
        """
        context, own = self.context, self.options
        generator = sslkit.seeded_generator(context.seed, "methods", context.steps_before + step)
        count = context.batch_size * context.global_view_count
        masked = int(count * own.masked_views)
        shares = torch.linspace(*own.mask_ratio, masked + 1)
        shares = shares[:-1] + torch.rand(masked, generator=generator) * shares.diff()
        counts = torch.zeros(count, dtype=torch.int64)
        counts[torch.randperm(count, generator=generator)[:masked]] = (shares * self.side**2).long()
        masks = block_masks(counts, self.side, self.side, generator).flatten(1)
        start, end = own.warmup_teacher_temperature, own.teacher_temperature
        return {
            **super().scheduled(step),
            "teacher_temperature": start + self.warmup.ramp(step) * (end - start),
            "mask": context.own_images(masks.unflatten(0, (context.batch_size, -1))),
        }

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        """Return the weighted sum of the image loss, the patch loss and the KoLeo loss, and log each of them."""
        self.rate, temperature = batch.scheduled["rate"], batch.scheduled["teacher_temperature"]
        views = torch.cat(batch.global_groups)
        count = len(views)
        mask = batch.scheduled["mask"].transpose(0, 1).flatten(0, 1)
        index, weights = masked_first(mask, self.most)
        with torch.no_grad():
            targets = self.teacher.tokens(views.flatten(0, 1))
            teacher = self._logits(self.teacher_heads, [targets.features], at_index(targets.patches, index))
        tokens = self.backbone.tokens(views.flatten(0, 1), mask=mask, mask_token=self.mask_token)
        local = [self.backbone(group.flatten(0, 1)) for group in _local_groups(batch)]
        student = self._logits(self.heads, [tokens.features, *local], at_index(tokens.patches, index))

        images, losses = self._image_loss(teacher[0], student[0], count, temperature)
        patches = self._patch_loss(teacher[1], student[1], weights, temperature)
        total, terms = images + self.options.patch_weight * patches, {"images": images, "patches": patches}
        if self.options.koleo_weight:
            with torch.autocast(views.device.type, enabled=False):
                spread = torch.stack([koleo(own) for own in widened(tokens.features).chunk(count)]).mean()
            total, terms = total + self.options.koleo_weight * spread, {**terms, "koleo": spread}
        logged = {name: value.detach() for name, value in terms.items()}
        return sslkit.MethodOutput(total, logged, {self.image_head: tuple(loss.detach() for loss in losses)})

    def _logits(
        self, heads: Mapping[str, sslkit.Head], features: list[Tensor], patches: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the logits of V views ``[V * B, K]``, and of M patches of each of G global views ``[G * B * M, K]``.

        Both tuples have one tensor for each classifier. If images and patches share a head, it is called once, so that
        BatchNorm normalises them together.
        """
        images, rows = torch.cat(features), patches.flatten(0, 1)
        if self.image_head != self.patch_head:
            by_image, by_patch = heads[self.image_head](images).logits, heads[self.patch_head](rows).logits
        else:
            both = heads[self.image_head](torch.cat([images, rows])).logits
            by_image, by_patch = zip(*(own.split([len(images), len(rows)]) for own in both), strict=True)
        return tuple(map(widened, by_image)), tuple(map(widened, by_patch))

    def _image_loss(
        self, teacher: tuple[Tensor, ...], student: tuple[Tensor, ...], count: int, temperature: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss on images, and the loss of each classifier; ``count`` is the number of global views."""
        losses = []
        for targets, theirs, ours in zip(self.image_targets, teacher, student, strict=True):
            wanted = targets(theirs, temperature, torch.ones_like(theirs[:, 0])).chunk(count)
            views = (ours / self.options.temperature).chunk(ours.shape[0] // wanted[0].shape[0])
            pairs = [
                cross_entropy(target, view).mean()
                for i, target in enumerate(wanted)
                for j, view in enumerate(views)
                if i != j
            ]
            losses.append(torch.stack(pairs).mean())
        return torch.stack(losses).mean(), losses

    def _patch_loss(
        self, teacher: tuple[Tensor, ...], student: tuple[Tensor, ...], weights: Tensor, temperature: Tensor
    ) -> Tensor:
        """Return the loss on masked patches, averaged over classifiers.

        ``weights`` ``[G * B, M]`` are the weights of M patches of each global view; 0 for patches that are not masked.
        """
        valid, images = (weights > 0).flatten().to(weights.dtype), len(weights)
        losses = []
        for targets, theirs, ours in zip(self.patch_targets, teacher, student, strict=True):
            entropies = cross_entropy(targets(theirs, temperature, valid), ours / self.options.temperature)
            losses.append((entropies * weights.flatten()).sum() / images)
        return torch.stack(losses).mean()


class DinoV2(Ibot):
    """DINOv2: iBOT with Sinkhorn targets and the KoLeo loss.

    Recipes usually have two heads: the first reads features of images, and the second reads patches.

    Source: Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024, arXiv 2304.07193,
    section 4.
    """

    class Options(Ibot.Options):
        targets: Literal["centred", "sinkhorn"] = "sinkhorn"
        """How the teacher's outputs become targets: minus a moving average ("centred"), or assigned so that all
        prototypes are used equally ("sinkhorn")."""

        koleo_weight: Weight = 0.1
        """Weight of the KoLeo loss, which spreads the student's features of each global view over the unit sphere."""


def _local_groups(batch: sslkit.Batch) -> list[Tensor]:
    """Return the view groups without global views: one tensor ``[V, B, C, S, S]`` for each size of local views."""
    groups, left = [], batch.global_views
    for views in batch.views:
        if len(views) > left:
            groups.append(views[left:])
        left = max(0, left - len(views))
    return groups
