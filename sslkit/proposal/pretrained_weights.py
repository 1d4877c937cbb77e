"""Pretrained weights that a proposed recipe can start from without a download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sslkit.components.catalog import Catalog
from sslkit.components.importer import load_component, variant_options
from sslkit.components.kinds import find_kind
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.errors import ComponentError

BACKBONE = "timm:tf_efficientnet_lite0"
"""Backbone of the proposed recipe: 3.4 million parameters, and fast enough for a CPU."""

SOURCES = ("bundled", "timm")
"""Sources of the weights of ``BACKBONE``, preferred source first."""

EXTRA = "pretrained"
"""Extra of the backbone's distribution that installs weights."""


@dataclass(frozen=True)
class PretrainedWeights:
    """Pretrained weights on this machine.

    Attributes:
        backbone: value of ``use`` in ``[backbone]``.
        source: value of ``weights`` in ``[backbone]``.
        preprocessing: preprocessing that the weights were trained with.
    """

    backbone: str
    source: str
    preprocessing: Preprocessing


def find_pretrained_weights(catalog: Catalog | None = None) -> PretrainedWeights | None:
    """Return the pretrained weights that need no download, or None if there are none.

    Args:
        catalog: the installed components; if None, the installed distributions are scanned.
    """
    try:
        entry = (catalog or Catalog.scan()).find(find_kind("backbone"), BACKBONE)
        component: Any = load_component(entry)
    except ComponentError:
        return None  # not installed, or it lacks what an extra installs
    options = component.Options(**variant_options(entry, component))
    sources = component.weight_sources(options)
    for source in SOURCES:
        if source in sources and component.weights_at_hand(options, source):
            return PretrainedWeights(BACKBONE, source, sources[source])
    return None


def install_command(catalog: Catalog | None = None) -> str:
    """Return the pip command that installs pretrained weights, or ``""`` if no distribution offers ``BACKBONE``."""
    try:
        entry = (catalog or Catalog.scan()).find(find_kind("backbone"), BACKBONE)
    except ComponentError:
        return ""
    return f"pip install '{entry.distribution}[{EXTRA}]'"
