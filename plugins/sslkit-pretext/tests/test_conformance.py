"""Conformance tests of the plugin's components."""

from __future__ import annotations

from processes.forked_imports import ForkedImport

from sslkit.testing import MethodTests
from sslkit_pretext.colourisation import Colourisation
from sslkit_pretext.jigsaw import Jigsaw
from sslkit_pretext.rotation import Rotation


class TestRotation(ForkedImport, MethodTests):
    component = Rotation


class TestJigsaw(MethodTests):
    component = Jigsaw
    test_import_is_fast_and_has_no_side_effects = None  # tested above
    options = {"orders": 4, "hidden_dim": 8}


class TestColourisation(MethodTests):
    component = Colourisation
    test_import_is_fast_and_has_no_side_effects = None  # tested above
