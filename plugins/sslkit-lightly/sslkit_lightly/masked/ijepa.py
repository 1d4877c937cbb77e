"""I-JEPA: predict the teacher's features of blocks of an image from the features of its other patches."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightly.models.modules.ijepa_timm import IJEPAPredictorTIMM
from pydantic import Field
from torch import Tensor
from torch.nn.functional import layer_norm, smooth_l1_loss

import sslkit
from sslkit_lightly.masked.masks import context_patches, target_blocks
from sslkit_lightly.masked.pixels import at_index, widened


class IJepa(sslkit.MomentumTeacher):
    """I-JEPA: the student encodes some patches, and a predictor predicts the teacher's features of target blocks.

    The teacher is the moving average of the student and encodes all patches. Its features are normalised (LayerNorm
    without parameters). The predictor is lightly's ``IJEPAPredictorTIMM``. The loss is the smooth L1 loss, averaged
    over the patches of all target blocks.

    All target blocks have the same shape, and the same number of context patches is drawn in every step, so that a step
    can be captured as a CUDA graph. The context patches are drawn from the whole image. In the paper, the context is a
    block without the targets, and the sizes of the targets and of the context vary from step to step.

    Source: Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture", CVPR
    2023, arXiv 2301.08243, section 3.

    Raises:
        sslkit.InputError: the images have too few patches for the target blocks.
    """

    api = 2
    own_objective = True
    needs = frozenset({"tokens", "fixed_size"})

    class Options(sslkit.MomentumTeacher.Options):
        targets: int = Field(4, ge=1, le=16)
        """Number of target blocks."""

        target_scale: float = Field(0.175, gt=0, lt=1)
        """Area of a target block as a fraction of the image; 0.15 to 0.2 in the paper."""

        predictor_dim: int = Field(384, ge=4, le=100_000)
        """Width of the predictor; a multiple of ``predictor_heads``, and of 4."""

        predictor_depth: int = Field(6, ge=1, le=1000)
        """Number of blocks of the predictor; 12 for ViT-Large in the paper."""

        predictor_heads: int = Field(12, ge=1, le=1000)
        """Number of attention heads in each block of the predictor."""

    def __init__(self, options: Options, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        if options.predictor_dim % options.predictor_heads or options.predictor_dim % 4:
            message = f"must be a multiple of 4 and of {options.predictor_heads} heads"
            raise sslkit.OptionError("predictor_dim", message)
        self.context, self.targets = context, options.targets
        side = context.view_size // self.backbone.patch_size
        self.grid, self.patches = (side, side), side**2
        tall = max(1, round(side * options.target_scale**0.5))
        wide = max(1, round(options.target_scale * self.patches / tall))
        self.side = (tall, wide)
        self.kept = self.patches - options.targets * tall * wide
        if self.kept < 1:
            raise sslkit.InputError(
                f"{self.targets} target blocks of {tall} x {wide} patches may cover all {side} x {side} patches: "
                "use smaller patches, larger views, or a lower target_scale"
            )
        self.predictor = IJEPAPredictorTIMM(
            num_patches=self.patches,
            depth=options.predictor_depth,
            mlp_dim=context.feature_dim,
            predictor_embed_dim=options.predictor_dim,
            num_heads=options.predictor_heads,
        )

    def no_weight_decay(self) -> frozenset[str]:
        """Return the name of the predictor's mask token, which gets no weight decay."""
        return frozenset({"predictor.decoder.mask_token"})

    def scheduled(self, step: int) -> Mapping[str, float | Tensor]:
        """Return random target blocks and context patches of each global view, and the teacher's update rate.

        Blocks and context are int64 indices of patches: ``targets`` ``[B, V, targets, T]``, blocks of T patches for
        each of V global views of B images, and ``kept`` ``[B, V, K]``, the K context patches of each view.
        """
        context = self.context
        generator = sslkit.seeded_generator(context.seed, "methods", context.steps_before + step)
        shape = (context.batch_size, context.global_view_count)
        targets = target_blocks(shape[0] * shape[1], self.targets, self.side, self.grid, generator)
        kept = context_patches(targets, self.patches, self.kept, generator)
        return {
            **super().scheduled(step),
            "targets": context.own_images(targets.unflatten(0, shape)),
            "kept": context.own_images(kept.unflatten(0, shape)),
        }

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        """Return the loss of the predicted features of the target blocks."""
        self.rate = batch.scheduled["rate"]
        images = torch.cat(batch.global_groups).flatten(0, 1)
        targets, kept = (batch.scheduled[name].transpose(0, 1).flatten(0, 1) for name in ("targets", "kept"))
        blocks = list(targets.unbind(1))
        with torch.no_grad():
            features = widened(self.teacher.tokens(images).patches)
            features = layer_norm(features, features.shape[-1:])
            expected = torch.cat([at_index(features, block) for block in blocks])
        predicted = self.predictor(self.backbone.tokens(images, keep=kept).patches, [kept], blocks)
        return sslkit.MethodOutput(smooth_l1_loss(widened(predicted), expected))
