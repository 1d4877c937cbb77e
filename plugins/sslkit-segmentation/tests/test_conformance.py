"""Conformance tests of the plugin's components."""

from __future__ import annotations

from sslkit.testing import DatasetTests, EvaluatorTests
from sslkit_segmentation.digit_scenes import DigitScenes
from sslkit_segmentation.segment import Segment


class TestDigitScenes(DatasetTests):
    component = DigitScenes
    options = {"train": 8, "test": 3}


class TestSegment(EvaluatorTests):
    component = Segment
    test_import_is_quiet_and_quick = None  # already run for DigitScenes
    options = {"epochs": 1}
