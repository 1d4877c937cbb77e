"""Conformance tests for backbones."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, get_args

import torch
from torch import Tensor

from sslkit.assembly.counterparts import feature_difference
from sslkit.contracts.backbone import Backbone, BackboneAbility, Counterpart
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.testing.base import ComponentTests, no_global_randomness, require
from sslkit.testing.fake_device import fake_device
from sslkit.testing.graphs import own_gradients, require_every_image, require_no_kept_graph


class BackboneTests(ComponentTests):
    """Conformance tests for a backbone. Set ``component`` and, if needed, ``options``.

    Attributes:
        channels: tuple of int, numbers of image channels that the backbone must support.
        sizes: tuple of (height, width), image sizes that the backbone must support. The first size is that of global
            views.
    """

    component: ClassVar[type[Backbone]]
    channels: ClassVar[tuple[int, ...]] = (1, 3)
    sizes: ClassVar[tuple[tuple[int, int], ...]] = ((32, 32), (20, 20), (33, 47))

    def build(self, seed: int = 0, channels: int = 3) -> Backbone:
        """Build the backbone for images of ``channels`` channels, with ``sizes[0]`` as the size of global views."""
        size = min(self.sizes[0])
        context = self.make_context(channels=channels, image_size=size, view_size=size)
        backbone: Backbone = self.make(context, seed=seed)
        return backbone

    def images(self, size: tuple[int, int] | None = None, channels: int = 3, seed: int = 0) -> Tensor:
        """Return four random normalised images ``[4, C, H, W]``; ``size`` defaults to ``sizes[0]``."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(4, channels, *(size or self.sizes[0]), generator=generator)

    def test_features_have_the_announced_shape(self) -> None:
        for channels in self.channels:
            backbone = self.build(channels=channels).eval()
            for size in self.sizes:
                with torch.no_grad():
                    features = backbone(self.images(size, channels))
                expected, actual = (4, backbone.feature_dim), tuple(features.shape)
                require(actual == expected, f"features of {size} images have shape {actual}, not {expected}")
                require(bool(features.isfinite().all()), "features must be finite")

    def test_provided_abilities_are_known(self) -> None:
        unknown = sorted(set(self.build().provides) - set(get_args(BackboneAbility)))
        require(not unknown, f"provides may contain {', '.join(get_args(BackboneAbility))}, not {', '.join(unknown)}")

    def test_feature_maps_have_the_size_of_their_stride(self) -> None:
        backbone = self.build().eval()
        if "feature_maps" not in backbone.provides:
            return
        for height, width in self.sizes:
            with torch.no_grad():
                maps = backbone.feature_maps(self.images((height, width)))
            require(maps, "feature_maps must return at least one map: segmentation and detection need it")
            require(list(maps) == sorted(maps), "feature_maps must be sorted by increasing stride")
            for stride, feature_map in maps.items():
                expected = (4, feature_map.shape[1], -(-height // stride), -(-width // stride))
                actual = tuple(feature_map.shape)
                message = f"the map of stride {stride} of {height} x {width} pixels has shape {actual}, not {expected}"
                require(actual == expected, message)

    def test_gradients_are_finite_and_reach_every_parameter(self) -> None:
        backbone = self.build().train()
        features = backbone(self.images())
        (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
        for name, value in backbone.named_parameters():
            if value.requires_grad:
                finite = value.grad is not None and bool(value.grad.isfinite().all())
                require(finite, f"no finite gradient reaches {name}")

    def test_gradients_reach_every_image(self) -> None:
        images = self.images().requires_grad_()
        reached = own_gradients(self.build().train()(images), images)
        require_every_image(reached, "no gradient of their features reaches the images")

    def test_no_graph_is_kept_after_a_step(self) -> None:
        backbone = self.build().train()

        def step(mark: Callable[[Tensor], Tensor], number: int) -> Tensor:
            features: Tensor = backbone(mark(self.images(seed=number).requires_grad_()))
            return features.square().mean()

        require_no_kept_graph("the backbone", step)

    def test_channels_last_images_give_the_same_features(self) -> None:
        """Check that channels-last images, which training uses, give the same features as contiguous images."""
        backbone, other = (self.build().train() for _ in range(2))
        other.to(memory_format=torch.channels_last)
        try:
            with torch.random.fork_rng(devices=[]):  # Equal dropout masks.
                torch.manual_seed(0)
                expected = backbone(self.images())
                torch.manual_seed(0)
                actual = other(self.images().contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            raise AssertionError(f"the backbone must accept channels-last images, as in training: {error}") from error
        require(torch.allclose(expected, actual, atol=1e-3), "channels-last images must give the same features")

    def test_training_works_in_bfloat16(self) -> None:
        """Run a forward and backward pass under bfloat16 autocast, as in training on modern hardware."""
        backbone = self.build().train()
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                features = backbone(self.images())
            features.float().sum().backward()
        except (RuntimeError, NotImplementedError) as error:
            raise AssertionError(f"the backbone must train under torch.autocast with bfloat16: {error}") from error
        require(bool(features.isfinite().all()), "features must be finite under torch.autocast with bfloat16")

    def test_input_images_are_not_modified(self) -> None:
        backbone, images = self.build().eval(), self.images()
        before = images.clone()
        with torch.no_grad():
            backbone(images)
            if "feature_maps" in backbone.provides:
                backbone.feature_maps(images)
        require(torch.equal(images, before), "the backbone must not modify its input images")

    def test_eval_features_do_not_depend_on_other_images(self) -> None:
        backbone = self.build().eval()
        with torch.no_grad():
            full, part = backbone(self.images())[:2], backbone(self.images()[:2])
        require(torch.allclose(full, part, atol=1e-4), "in eval mode a feature must not depend on the other images")

    def test_global_random_state_is_not_used(self) -> None:
        backbone, images = self.build().eval(), self.images()
        with no_global_randomness("the backbone in eval mode"):
            backbone(images)

    def test_state_dict_restores_the_full_state(self) -> None:
        one, other = self.build().train(), self.build(seed=1).train()
        for seed in range(3):
            one(self.images(seed=seed))
        other.load_state_dict(one.state_dict())
        with torch.no_grad():
            same = torch.equal(one.eval()(self.images(seed=9)), other.eval()(self.images(seed=9)))
        require(same, "after load_state_dict the backbone gives different features: keep all state in buffers")

    def test_tokens_have_one_vector_for_each_patch(self) -> None:
        backbone, images = self.build().eval(), self.images()
        if "tokens" not in backbone.provides:
            return
        tokens = backbone.tokens(images)
        expected, actual = (4, self._patches(backbone), backbone.feature_dim), tuple(tokens.patches.shape)
        require(actual == expected, f"the patches have shape {actual}, not {expected}")
        prefix = (tokens.prefix.shape[0], tokens.prefix.shape[2])
        require(prefix == (4, backbone.feature_dim), "prefix must be a tensor [B, P, D]")
        same = torch.allclose(tokens.features, backbone(images), atol=1e-5)
        require(same, "the features of tokens must be those of forward")

    def test_tokens_depend_only_on_kept_patches(self) -> None:
        backbone, images = self.build().eval(), self.images()
        if "tokens" not in backbone.provides:
            return
        count = self._patches(backbone)
        order = torch.arange(count).flip(0).expand(4, -1)
        every, flipped = backbone.tokens(images), backbone.tokens(images, keep=order)
        require(
            torch.allclose(every.patches.flip(1), flipped.patches, atol=1e-4), "patches must be in the order of keep"
        )
        first = torch.zeros(4, 1, dtype=torch.int64)
        side, changed = backbone.patch_size, images.flip(0)
        changed[:, :, :side, :side] = images[:, :, :side, :side]
        one, other = backbone.tokens(images, keep=first), backbone.tokens(changed, keep=first)
        require(one.patches.shape[1] == 1, "only the patches of keep must be encoded")
        require(torch.allclose(one.patches, other.patches, atol=1e-5), "patches that are not in keep must not be read")

    def test_mask_token_replaces_masked_patches(self) -> None:
        backbone, images = self.build().eval(), self.images()
        if "tokens" not in backbone.provides:
            return
        side, token = backbone.patch_size, torch.randn(backbone.feature_dim).requires_grad_()
        mask = torch.ones(4, self._patches(backbone), dtype=torch.bool)
        mask[:, 0] = False
        changed = images.flip(0)
        changed[:, :, :side, :side] = images[:, :, :side, :side]
        one, other = (backbone.tokens(own, mask=mask, mask_token=token) for own in (images, changed))
        require(torch.allclose(one.patches, other.patches, atol=1e-5), "the pixels of masked patches must not be read")
        distinct = not torch.allclose(one.patches[:, 1], one.patches[:, 2], atol=1e-5)
        require(distinct, "masked patches must differ by their position: add positions after the mask token")
        one.patches.sum().backward()
        require(token.grad is not None and bool(token.grad.any()), "a gradient must reach the mask token")

    def _patches(self, backbone: Backbone) -> int:
        height, width = self.sizes[0]
        return (height // backbone.patch_size) * (width // backbone.patch_size)

    def test_parameters_without_weight_decay_exist(self) -> None:
        backbone = self.build()
        unknown = sorted(set(backbone.no_weight_decay()) - dict(backbone.named_parameters()).keys())
        require(not unknown, f"no_weight_decay names {', '.join(unknown)}, which are not parameters")

    def test_blocks_have_every_parameter_at_most_once(self) -> None:
        """Check that no parameter is in two blocks, because ``layer_decay`` gives each block its own learning rate."""
        backbone = self.build()
        blocks = [list(block) for block in backbone.blocks()]
        require(blocks and all(blocks), "blocks must return at least one block, and no empty block")
        own = {id(parameter) for parameter in backbone.parameters()}
        found = [id(parameter) for block in blocks for parameter in block]
        require(own.issuperset(found), "blocks must return parameters of the backbone")
        require(len(found) == len(set(found)), "a parameter must be in one block only")

    def test_weight_sources_have_a_preprocessing(self) -> None:
        """Check that each weight source has a valid ``Preprocessing``. This test does not load the weights."""
        sources = self.component.weight_sources(self.make_options())
        for name, preprocessing in sources.items():
            require(isinstance(preprocessing, Preprocessing), f"the value of {name!r} must be an sslkit.Preprocessing")
            channels = len(preprocessing.mean)
            valid = channels and len(preprocessing.std) == channels and min(preprocessing.std) > 0
            require(valid, f"mean and std of {name!r} must have one value for each channel, and std must be above 0")
            require(preprocessing.size > 0, f"the size of {name!r} must be above 0")
        loads = self.component.load_weights_from is not Backbone.load_weights_from
        require(loads or not sources, "a backbone with weight_sources must implement load_weights_from")

    def test_counterparts_give_the_same_features(self) -> None:
        backbone = self.build().eval()
        for library, counterpart in backbone.counterparts().items():
            if not isinstance(counterpart, Counterpart):
                explained = isinstance(counterpart, str) and counterpart.strip()
                require(explained, f"the value for {library} must be a Counterpart, or a text why there is none")
                continue
            distance = feature_difference(backbone, counterpart, self.images())
            require(distance < 1e-5, f"the features of the {library} counterpart differ by {distance:.2g}")

    def test_works_on_any_device_without_a_device_sync(self) -> None:
        for training in (False, True):
            with fake_device(self.build().train(training)) as (device, (backbone,)):
                features = backbone(device.tensor(self.images()))
                require(features.device.type == "cuda", "features must be on the device of the images")
