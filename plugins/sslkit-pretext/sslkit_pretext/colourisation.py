"""Colourisation: predict the colours of an image from its grey version."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, pixel_shuffle

import sslkit
from sslkit_pretext.lab import cell_of, rgb_to_lab, visible_bins
from sslkit_pretext.trial import try_backbone

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey pixel (ITU-R BT.601)."""


class Colourisation(sslkit.Method):
    """Prediction of the colours of a view from its grey version.

    The backbone reads the grey view in all three channels. A 1 x 1 convolution on the deepest feature map predicts
    ``upsampling`` x ``upsampling`` colours for each position of the map. The targets are the mean colours of the
    corresponding cells of the view. A colour is one of Q bins of 10 x 10 in a and b of CIELAB. Only views of the
    largest size are used.

    The loss is a weighted cross-entropy, because most colours are dull. The weight of a bin is proportional to
    ``1 / ((1 - rebalancing) * p + rebalancing / Q)``, where ``p`` is the share of the bin in the target colours, a
    moving average over global batches. The mean of the weights, weighted by ``p``, is 1.

    The paper trains at a quarter of the resolution, spreads each target over five bins, and computes ``p`` once, from
    ImageNet.

    Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, arXiv 1603.08511, equations 2 to 4.

    Raises:
        sslkit.InputError: the images are not RGB.
    """

    api = 2
    own_objective = True
    needs = frozenset({"feature_maps"})
    shares: Tensor
    bins: Tensor
    mean: Tensor
    std: Tensor
    grey: Tensor

    class Options(sslkit.Options):
        upsampling: int = Field(2, ge=1, le=16)
        """Number of colours, along each side, that each position of the deepest feature map predicts."""

        rebalancing: float = Field(0.5, ge=0, le=1)
        """Share of a uniform distribution in the weights of bins: 1 weighs all bins equally; 0.5 in the paper."""

        momentum: float = Field(0.99, ge=0, lt=1)
        """Momentum of the moving average of the bins' shares."""

    def __init__(self, options: Options, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        if context.channels != 3:
            raise sslkit.InputError(
                f"the method 'colourisation' needs RGB images, but these have {context.channels} channels: use other "
                "images or another method"
            )
        self.options, self.world = options, context.world
        maps = try_backbone("colourisation", self.backbone, self.backbone.feature_maps, 3, context.view_size)
        bins = visible_bins()
        count = int(bins.max()) + 1
        self.register_buffer("bins", bins, persistent=False)
        self.register_buffer("shares", torch.full((count,), 1 / count))
        self.register_buffer("mean", torch.tensor(context.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(context.std)[:, None, None], persistent=False)
        self.register_buffer("grey", torch.tensor(LUMINANCE)[:, None, None], persistent=False)
        width = maps[max(maps)].shape[1]
        self.classifier = nn.Conv2d(width, count * options.upsampling**2, 1)

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        """Return the weighted cross-entropy, and log the accuracy, of the predicted bins of colours."""
        views = batch.global_groups[0].flatten(0, 1)
        rgb = (views * self.std + self.mean).clamp(0, 1)
        grey = ((rgb * self.grey).sum(1, keepdim=True) - self.mean) / self.std
        maps = self.backbone.feature_maps(grey)
        logits = pixel_shuffle(self.classifier(maps[max(maps)]), self.options.upsampling).float()
        target = self.bins[cell_of(rgb_to_lab(adaptive_avg_pool2d(rgb, (logits.shape[2], logits.shape[3]))))]
        loss = (self._weights(target)[target] * cross_entropy(logits, target, reduction="none")).mean()
        accuracy = (logits.detach().argmax(1) == target).float().mean()
        return sslkit.MethodOutput(loss, {"accuracy": accuracy})

    @torch.no_grad()
    def _weights(self, target: Tensor) -> Tensor:
        """Update the shares of the bins with int64 targets ``[N, H, W]``, and return the weights of the bins."""
        counts = torch.zeros_like(self.shares).index_add_(0, target.flatten(), self.shares.new_ones(target.numel()))
        shares = self.world.sum(counts / target.numel()) / self.world.size
        if self.training:
            self.shares.lerp_(shares, 1 - self.options.momentum)
        uniform = self.options.rebalancing
        weights = 1 / ((1 - uniform) * self.shares + uniform / len(self.shares))
        return weights / (weights * self.shares).sum()
