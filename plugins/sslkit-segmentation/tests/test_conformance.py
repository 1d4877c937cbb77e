"""Conformance tests of the plugin's components."""

from __future__ import annotations

from processes.forked_imports import ForkedImport

from sslkit.testing import DatasetTests, EvaluatorTests
from sslkit_segmentation.digit_scenes import DigitScenes
from sslkit_segmentation.segment import Segment


class TestDigitScenes(ForkedImport, DatasetTests):
    component = DigitScenes
    options = {"train": 8, "test": 3}


class TestSegment(ForkedImport, EvaluatorTests):
    component = Segment
    options = {"epochs": 1}
