"""What is promised of backbones."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from sslkit.assembly.counterparts import difference
from sslkit.contracts.backbone import Backbone, Counterpart
from sslkit.testing.accelerator import accelerator
from sslkit.testing.base import ComponentTests, no_global_randomness, require


class BackboneTests(ComponentTests):
    """Subclass with ``component`` and, where needed, ``options``."""

    component: ClassVar[type[Backbone]]

    channels: ClassVar[tuple[int, ...]] = (1, 3)
    """Numbers of channels it must take."""

    sizes: ClassVar[tuple[tuple[int, int], ...]] = ((32, 32), (20, 20), (33, 47))
    """Height and width of images it must take; the first is that of the global views."""

    def build(self, seed: int = 0, channels: int = 3) -> Backbone:
        """The backbone."""
        size = min(self.sizes[0])
        context = self.make_context(channels=channels, image_size=size, view_size=size)
        built: Backbone = self.make(context, seed=seed)
        return built

    def images(self, size: tuple[int, int] | None = None, channels: int = 3, seed: int = 0) -> Tensor:
        """Normalised images."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(4, channels, *(size or self.sizes[0]), generator=generator)

    def test_features_are_as_announced(self) -> None:
        for channels in self.channels:
            backbone = self.build(channels=channels).eval()
            for size in self.sizes:
                with torch.no_grad():
                    features = backbone(self.images(size, channels))
                found = tuple(features.shape)
                right = found == (4, backbone.feature_dim)
                require(right, f"features of {size} images are {found}, feature_dim is {backbone.feature_dim}")
                require(bool(features.isfinite().all()), "features must be finite")

    def test_feature_maps_have_their_strides(self) -> None:
        backbone = self.build().eval()
        for height, width in self.sizes:
            with torch.no_grad():
                maps = backbone.feature_maps(self.images((height, width)))
            require(maps, "feature_maps must give at least one map: segmentation and detection need them")
            require(list(maps) == sorted(maps), "feature_maps must be ordered by increasing stride")
            for stride, found in maps.items():
                wanted = (4, found.shape[1], -(-height // stride), -(-width // stride))
                shape = tuple(found.shape)
                require(shape == wanted, f"the map of stride {stride} is {shape}, not {wanted}, for {height} x {width}")

    def test_gradients_are_finite_and_reach_every_parameter(self) -> None:
        backbone = self.build().train()
        features = backbone(self.images())
        (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
        for name, value in backbone.named_parameters():
            if value.requires_grad:
                reached = value.grad is not None and bool(value.grad.isfinite().all())
                require(reached, f"no finite gradient reaches {name}")

    def test_the_memory_order_of_images_does_not_matter(self) -> None:
        """Training has images and weights in channels-last order."""
        backbone, other = (self.build().train() for _ in range(2))
        other.to(memory_format=torch.channels_last)
        try:
            with torch.random.fork_rng(devices=[]):  # dropout draws alike
                torch.manual_seed(0)
                wanted = backbone(self.images())
                torch.manual_seed(0)
                found = other(self.images().contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            message = f"it must take images in channels-last memory order, as training gives them: {error}"
            raise AssertionError(message) from error
        same = torch.allclose(wanted, found, atol=1e-3)
        require(same, "images in channels-last memory order must give the same features")

    def test_it_trains_in_bfloat16(self) -> None:
        """As training does where the hardware computes in it, under autocast."""
        backbone = self.build().train()
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                features = backbone(self.images())
            features.float().sum().backward()
        except (RuntimeError, NotImplementedError) as error:
            raise AssertionError(f"it must train under torch.autocast with bfloat16: {error}") from error
        require(bool(features.isfinite().all()), "features must be finite under torch.autocast with bfloat16")

    def test_it_leaves_images_as_they_were(self) -> None:
        backbone, images = self.build().eval(), self.images()
        before = images.clone()
        with torch.no_grad():
            backbone(images)
            backbone.feature_maps(images)
        require(torch.equal(images, before), "the backbone must not write into its images")

    def test_in_eval_mode_each_image_stands_alone(self) -> None:
        backbone = self.build().eval()
        with torch.no_grad():
            whole, part = backbone(self.images())[:2], backbone(self.images()[:2])
        require(torch.allclose(whole, part, atol=1e-4), "in eval mode a feature must not depend on the other images")

    def test_it_uses_no_global_randomness(self) -> None:
        backbone, images = self.build().eval(), self.images()
        with no_global_randomness("the backbone in eval mode"):
            backbone(images)

    def test_its_state_is_in_its_state_dict(self) -> None:
        one, other = self.build().train(), self.build(seed=1).train()
        for seed in range(3):
            one(self.images(seed=seed))
        other.load_state_dict(one.state_dict())
        with torch.no_grad():
            same = torch.equal(one.eval()(self.images(seed=9)), other.eval()(self.images(seed=9)))
        require(same, "loaded from its state_dict the backbone gives other features: keep its state in buffers")

    def test_its_counterparts_give_the_same_features(self) -> None:
        backbone = self.build().eval()
        for library, found in backbone.counterparts().items():
            if not isinstance(found, Counterpart):
                told = isinstance(found, str) and found.strip()
                require(told, f"what stands for {library} must be a Counterpart, or say why there is none")
                continue
            apart = difference(backbone, found, self.images())
            require(apart < 1e-5, f"the network in {library} gives features that differ by {apart:.2g}")

    def test_it_works_on_any_device_without_waiting_for_it(self) -> None:
        for training in (False, True):
            with accelerator(self.build().train(training)) as (device, (backbone,)):
                features = backbone(device.tensor(self.images()))
                require(features.device.type == "cuda", "features must be on the device of the images")
