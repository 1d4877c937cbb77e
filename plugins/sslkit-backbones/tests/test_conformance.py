"""Conformance tests of the plugin's backbones."""

from __future__ import annotations

from processes.forked_imports import ForkedImport

from sslkit.testing import BackboneTests
from sslkit_backbones.alexnet import AlexNet
from sslkit_backbones.convnet import ConvNet
from sslkit_backbones.resnet import ResNet18
from sslkit_backbones.timm_models import Timm


class TestResNet18(ForkedImport, BackboneTests):
    component = ResNet18
    options = {"stem": "small"}


class TestResNet18Large(BackboneTests):
    component = ResNet18
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"stem": "imagenet"}


class TestAlexNet(BackboneTests):
    component = AlexNet
    test_import_is_fast_and_has_no_side_effects = None  # tested above


class TestAlexNetWithBatchNorm(BackboneTests):
    component = AlexNet
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"batch_norm": True}


class TestConvNet(BackboneTests):
    component = ConvNet
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"width": 4}


class TestTimm(ForkedImport, BackboneTests):
    component = Timm
    options = {"model": "test_resnet"}
    sizes = ((64, 64), (40, 56))


class TestTimmTransformer(BackboneTests):
    component = Timm
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"model": "test_vit", "arguments": {"dynamic_img_size": True, "patch_size": 8}}
    sizes = ((32, 32), (16, 24))


class TestTimmTransformerOfFixedSize(BackboneTests):
    component = Timm
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"model": "test_vit2", "arguments": {"patch_size": 8, "reg_tokens": 2}}
    sizes = ((32, 32),)
