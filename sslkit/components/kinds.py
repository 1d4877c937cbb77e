"""Kinds of components, with their entry-point groups and base classes."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from sslkit.errors import InputError


@dataclass(frozen=True)
class Kind:
    """A kind of component, such as losses or backbones.

    Attributes:
        singular: name of the kind in the singular, such as ``loss``.
        plural: name of the kind in the plural, such as ``losses``; the entry-point group is ``sslkit.<plural>``.
        section: recipe section that names the component, or ``""`` for evaluators, which recipes do not name.
        base: ``module:Class`` that components of the kind inherit from.
        reserved: keys of the recipe table that sslkit itself reads, in addition to ``use``. Options must not have
            such names.
    """

    singular: str
    plural: str
    section: str
    base: str
    reserved: frozenset[str] = frozenset()

    @property
    def article(self) -> str:
        """Indefinite article before the singular: ``a`` or ``an``."""
        return "an" if self.singular[0] in "aeiou" else "a"

    @property
    def group(self) -> str:
        """Name of the entry-point group."""
        return f"sslkit.{self.plural}"


BACKBONE_KEYS = frozenset({"weights", "train", "lr_scale", "layer_decay"})
LOSS_KEYS = frozenset({"name", "weight", "head", "start_epoch"})

KINDS = (
    Kind("dataset", "datasets", "data", "sslkit.contracts.dataset:Dataset"),
    Kind("view", "views", "views", "sslkit.contracts.views:Views"),
    Kind("backbone", "backbones", "backbone", "sslkit.contracts.backbone:Backbone", BACKBONE_KEYS),
    Kind("positive", "positives", "positives", "sslkit.contracts.positives:Positives"),
    Kind("head", "heads", "head", "sslkit.contracts.head:Head", frozenset({"name"})),
    Kind("loss", "losses", "loss", "sslkit.contracts.loss:Loss", LOSS_KEYS),
    Kind("method", "methods", "method", "sslkit.contracts.method:Method"),
    Kind("optimizer", "optimizers", "optimizer", "sslkit.contracts.optimizer:Optimizer"),
    Kind("evaluator", "evaluators", "", "sslkit.contracts.evaluator:Evaluator"),
)

BY_GROUP = {kind.group: kind for kind in KINDS}


def find_kind(name: str) -> Kind:
    """Return the kind with a given singular or plural name.

    Raises:
        InputError: no kind has this name.
    """
    for kind in KINDS:
        if name in (kind.singular, kind.plural):
            return kind
    names = [kind.plural for kind in KINDS]
    close = get_close_matches(name, names + [kind.singular for kind in KINDS], n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError(f"no kind of component is called {name!r}: {hint}the kinds are {', '.join(names)}")
