"""Methods that predict the pixels of masked patches: MAE and SimMIM."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM
from lightly.models.utils import normalize_mean_var, patchify
from pydantic import Field
from torch import Tensor, nn

import sslkit
from sslkit_lightly.masked.masks import split_patches


class MaskedPixels(sslkit.Method):
    """Base class of methods that predict the pixels of randomly masked patches of each global view.

    All views of the recipe must have the same size, because all masks cover the same grid of patches. Every global
    view has its own mask; local views of this size are not used.

    Raises:
        sslkit.OptionError: no patch, or every patch, is masked.
        sslkit.InputError: the side of a view is not a multiple of the side of a patch.
    """

    api = 2
    own_objective = True
    needs = frozenset({"tokens", "fixed_size"})

    class Options(sslkit.Options):
        mask_ratio: float = Field(0.75, gt=0, lt=1)
        """Fraction of the patches that are masked."""

    def __init__(self, options: Options, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.context, self.mask_ratio = context, options.mask_ratio
        self.patch_size = self.backbone.patch_size
        if context.view_size % self.patch_size:
            raise sslkit.InputError(
                f"views of {context.view_size} pixels cannot be divided into patches of {self.patch_size}: change "
                "views.size, or patch_size of the backbone"
            )
        self.patches = (context.view_size // self.patch_size) ** 2
        if not 0 < int(self.patches * (1 - self.mask_ratio)) < self.patches:
            raise sslkit.OptionError("mask_ratio", f"no patch, or all of the {self.patches} patches, would be masked")

    def scheduled(self, step: int) -> Mapping[str, Tensor]:
        """Return the indices of the visible and of the masked patches of each global view.

        Returns:
            ``visible``, int64 ``[B, V, K]``, and ``masked``, int64 ``[B, V, M]``: K visible and M masked patches in
            each of the V global views of this process's B images.
        """
        context = self.context
        generator = sslkit.seeded_generator(context.seed, "methods", context.steps_before + step)
        shape = (context.batch_size, context.global_view_count)
        visible, masked = split_patches(shape[0] * shape[1], self.patches, self.mask_ratio, generator)
        return {
            name: context.own_images(index.unflatten(0, shape))
            for name, index in (("visible", visible), ("masked", masked))
        }

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        """Return the loss of the predicted pixels of the masked patches."""
        images = torch.cat(batch.global_groups).flatten(0, 1)
        visible, masked = (batch.scheduled[name].transpose(0, 1).flatten(0, 1) for name in ("visible", "masked"))
        target = at_index(patchify(images, self.patch_size), masked)
        return sslkit.MethodOutput(self.compare(widened(self.predict(images, visible, masked)), target))

    @abstractmethod
    def predict(self, images: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        """Return the predicted pixels ``[N, M, C * patch_size**2]`` of the masked patches.

        Args:
            images: tensor ``[N, C, S, S]``, the global views of a batch; N is the number of images times views.
            visible: int64 tensor ``[N, K]``, indices of the K visible patches of each view.
            masked: int64 tensor ``[N, M]``, indices of the M masked patches of each view.
        """

    @abstractmethod
    def compare(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predicted pixels; shapes as in ``predict``."""


class Mae(MaskedPixels):
    """Masked autoencoder: encodes the visible patches only, and predicts the pixels of the others with a decoder.

    The decoder is lightly's ``MaskedVisionTransformerDecoderTIMM``. The loss is the mean squared error of the masked
    patches, whose pixels are normalised patch by patch.

    Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv 2111.06377, section 3.
    """

    class Options(MaskedPixels.Options):
        decoder_dim: int = Field(512, ge=4, le=100_000)
        """Width of the decoder; a multiple of ``decoder_heads``, and of 4."""

        decoder_depth: int = Field(8, ge=1, le=1000)
        """Number of blocks of the decoder."""

        decoder_heads: int = Field(16, ge=1, le=1000)
        """Number of attention heads in each block of the decoder."""

        normalise_patches: bool = True
        """Predict pixels that are normalised to mean 0 and variance 1 in each patch."""

    def __init__(self, options: Options, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        width = options.decoder_dim
        if width % options.decoder_heads or width % 4:
            raise sslkit.OptionError("decoder_dim", f"must be a multiple of 4 and of {options.decoder_heads} heads")
        self.normalise = options.normalise_patches
        self.embedding = nn.Linear(context.feature_dim, width)
        prefix = count_prefix_tokens(self.backbone, context)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            num_patches=self.patches,
            embed_dim=width,
            depth=options.decoder_depth,
            num_heads=options.decoder_heads,
            num_prefix_tokens=prefix,
        )
        self.pixels = nn.Linear(width, context.channels * self.patch_size**2)

    def no_weight_decay(self) -> frozenset[str]:
        """Return the name of the decoder's mask token, which gets no weight decay."""
        return frozenset({"decoder.mask_token"})

    def predict(self, images: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        tokens = self.backbone.tokens(images, keep=visible)
        encoded = self.embedding(torch.cat([tokens.prefix, tokens.patches], dim=1))
        prefix, patches = encoded.split([tokens.prefix.shape[1], visible.shape[1]], dim=1)
        every = self.decoder.mask_token.to(patches.dtype).expand(len(images), self.patches, -1)
        every = every.scatter(1, visible[..., None].expand_as(patches), patches)
        decoded = self.decoder.decode(self.decoder.add_pos_embed(torch.cat([prefix, every], dim=1)))
        predicted: Tensor = self.pixels(at_index(decoded[:, prefix.shape[1] :], masked))
        return predicted

    def compare(self, predicted: Tensor, target: Tensor) -> Tensor:
        return (predicted - (normalize_mean_var(target) if self.normalise else target)).square().mean()


class SimMim(MaskedPixels):
    """SimMIM: a mask token replaces masked patches, and a linear layer predicts their pixels.

    The loss is the mean absolute error of the masked patches. As in lightly, each patch is masked on its own; the
    paper masks squares of 32 pixels.

    Source: Xie et al., "SimMIM: a Simple Framework for Masked Image Modeling", CVPR 2022, arXiv 2111.09886, section 3.
    """

    class Options(MaskedPixels.Options):
        mask_ratio: float = Field(0.6, gt=0, lt=1)
        """Fraction of the patches that are masked."""

    def __init__(self, options: Options, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.mask_token = nn.Parameter(torch.zeros(context.feature_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.pixels = nn.Linear(context.feature_dim, context.channels * self.patch_size**2)

    def no_weight_decay(self) -> frozenset[str]:
        """Return the name of the mask token, which gets no weight decay."""
        return frozenset({"mask_token"})

    def predict(self, images: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        mask = torch.zeros(len(images), self.patches, dtype=torch.bool, device=images.device)
        mask = mask.scatter(1, masked, torch.ones_like(masked, dtype=torch.bool))
        tokens = self.backbone.tokens(images, mask=mask, mask_token=self.mask_token)
        predicted: Tensor = self.pixels(at_index(tokens.patches, masked))
        return predicted

    def compare(self, predicted: Tensor, target: Tensor) -> Tensor:
        return (predicted - target).abs().mean()


@torch.no_grad()
def count_prefix_tokens(backbone: sslkit.Backbone, context: sslkit.Context) -> int:
    """Return the number of class and register tokens of a backbone."""
    training = backbone.training
    black = torch.zeros(1, context.channels, context.view_size, context.view_size)
    count = backbone.eval().tokens(black).prefix.shape[1]
    backbone.train(training)
    return count


def widened(tensor: Tensor) -> Tensor:
    """Return the tensor with at least float32 precision."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def at_index(tokens: Tensor, index: Tensor) -> Tensor:
    """Return the tokens ``[N, M, D]`` at int64 indices ``[N, M]`` of tokens ``[N, P, D]``."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))
