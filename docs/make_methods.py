"""Write docs/methods.md, which lists the methods of the installed lightly and of sslkit's plugins, and their recipes.

Run ``python docs/make_methods.py`` after adding a method to a plugin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import lightly.loss
from torch import nn

PAGE = Path(__file__).parent / "methods.md"


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: name of the method.
        classes: names of lightly's loss classes of the method; empty if lightly has only an example.
        losses: names of the losses in sslkit; empty if sslkit does not have the method, or if ``method`` is set.
        recipe: name of the recipe in ``recipes/``; empty if there is none.
        method: name of the method in sslkit, for methods with their own objective.
        note: reason why sslkit does not have the method, or a remark.
    """

    name: str
    classes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    recipe: str = ""
    note: str = ""
    method: str = ""


DENSE = "needs feature maps instead of one vector for each view"

METHODS = (
    Method("Barlow Twins", ("BarlowTwinsLoss",), ("barlow-twins",), "barlow-twins"),
    Method("BYOL", (), ("byol",), "byol"),
    Method("DCL, DCLW", ("DCLLoss", "DCLWLoss"), ("dcl", "dclw"), "dcl"),
    Method("DINO", ("DINOLoss",), ("dino",), "dino"),
    Method(
        "EMP-SSL", ("EMPSSLLoss",), ("emp-ssl",), "emp-ssl", "lightly 1.6.0 has the opposite sign of the coding rate"
    ),
    Method("FastSiam", ("NegativeCosineSimilarity",), ("fastsiam",), "fastsiam"),
    Method("FroSSL", ("FroSSLLoss",), ("frossl",), "frossl"),
    Method("MMCR", ("MMCRLoss",), ("mmcr",), "mmcr"),
    Method("MoCo v2", ("NTXentLoss",), ("moco",), "moco"),
    Method("MoCo v3", (), ("moco-v3",), "moco-v3"),
    Method("NNCLR", ("NTXentLoss",), ("nnclr",), "nnclr"),
    Method("SimCLR", ("NTXentLoss",), ("simclr",), "simclr"),
    Method("SimSiam", ("NegativeCosineSimilarity",), ("simsiam",), "simsiam"),
    Method("SwAV", ("SwaVLoss",), ("swav",), "swav"),
    Method("TiCo", ("TiCoLoss",), ("tico",), "tico"),
    Method("VICReg", ("VICRegLoss",), ("vicreg",), "vicreg"),
    Method("DirectCLR", ("DirectCLRLoss",), ("directclr",), "directclr"),
    Method("LeJEPA", ("LeJEPALoss", "SIGReg"), ("lejepa",), "lejepa"),
    Method("W-MSE", ("WMSELoss", "Whitening2d"), ("w-mse",), "w-mse"),
    Method("CAPI", ("CAPILoss",), note="not yet: predicts clusters of the patches of a teacher"),
    Method("DenseCL", (), note=DENSE),
    Method("DetCon", ("DetConBLoss", "DetConSLoss"), note="needs segments of each image"),
    Method("iBOT", ("IBOTPatchLoss",), recipe="ibot", method="ibot"),
    Method("iBOT++", ("IBOTPlusPlusPatchLoss",), note="not yet: iBOT with a loss on visible patches"),
    Method("DINOv2", ("DINOLoss", "IBOTPatchLoss", "KoLeoLoss"), recipe="dinov2", method="dinov2"),
    Method("I-JEPA", (), recipe="i-jepa", method="i-jepa"),
    Method("MAE", (), recipe="mae", method="mae"),
    Method("SimMIM", (), recipe="simmim", method="simmim"),
    Method("MSN", ("MSNLoss",), recipe="msn", method="msn"),
    Method("PMSN", ("PMSNLoss", "PMSNCustomLoss"), recipe="pmsn", method="pmsn", note="power laws only"),
    Method("AIM", (), note="not yet: predicts patches in order, with causal attention"),
    Method("LeWM", ("LeWMLoss",), note="a world model: needs sequences of images and actions"),
    Method("MACL", ("MACLLoss",), note="not yet: NT-Xent with an adaptive temperature"),
    Method("PIRL", (), note="needs jigsaw patches as views"),
    Method("SMoG", (), note="not yet: needs k-means on past embeddings during training"),
    Method("NeCo (patch neighbours)", ("PatchKernelAlignmentLoss",), note=DENSE),
    Method("VICRegL", ("VICRegLLoss",), note=DENSE),
    Method("VISReg", ("VISRegLoss",), note="not yet: LeJEPA with a different regulariser"),
)

OTHERS = (
    Method("Self-Classifier", (), ("selfcls",), "selfcls"),
    Method("DeepCluster v2", (), ("deepcluster-v2",), "deepcluster-v2"),
    Method("SeLa", (), ("sela",), "sela"),
    Method("SCAN", (), ("scan", "self-label"), note="`recipes/self-label.toml` for the second stage"),
    Method("TEMI", (), ("temi",)),
    Method("SeCu", (), ("secu",)),
    Method("RUC", (), ("ruc",), "ruc"),
    Method("Rotation", recipe="rotation", method="rotation"),
    Method("Jigsaw", recipe="jigsaw", method="jigsaw"),
    Method("Colourisation", recipe="colourisation", method="colourisation"),
)
"""Methods of sslkit-selfcls, sslkit-discovery and sslkit-pretext."""

HEAD = """\
# Methods

This page lists the methods for which [lightly](https://docs.lightly.ai/self-supervised-learning/) 1.6 has a loss or an
example, and how to select each of them in sslkit. Train a method with its recipe, or name its loss in a recipe:

    sslkit train recipes/moco.toml
    sslkit train recipes/simclr.toml --set loss.use=dcl

To find the best method for your images and your machine, [compare methods](compare-methods.md).

[sslkit-lightly](https://pypi.org/project/sslkit-lightly/) provides the losses and methods in this table. Its README
lists their options, and their deviations from the papers and from lightly.

<!-- Written by `python docs/make_methods.py`; edit the program instead. -->

| method | class in `lightly.loss` | loss or method in sslkit | recipe |
| --- | --- | --- | --- |
"""
"""Markdown text at the top of the page."""

OTHERS_HEAD = """\

## Methods that lightly does not have

`sslkit plugins info NAME` prints the options of each loss and method.

| method | loss or method in sslkit | recipe |
| --- | --- | --- |
"""
"""Markdown text between the two tables."""


def lightly_classes() -> set[str]:
    """Return the names of the loss modules that the installed lightly exports."""
    return {
        name for name, value in vars(lightly.loss).items() if isinstance(value, type) and issubclass(value, nn.Module)
    }


def page() -> str:
    """Return the complete page as Markdown text."""
    rows = [(method.name, _code(method.classes), *_selection(method)) for method in METHODS]
    others = [(method.name, *_selection(method)) for method in OTHERS]
    return HEAD + _table(rows) + OTHERS_HEAD + _table(others)


def _selection(method: Method) -> tuple[str, str]:
    """Return the last two cells of a method's row: its name in a recipe, and a recipe or a remark."""
    recipe = f"`recipes/{method.recipe}.toml`" if method.recipe else ""
    own = f"method `{method.method}`" if method.method else _code(method.losses)
    return own or "none", "; ".join(filter(None, [recipe, method.note]))


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return the rows of a table as Markdown text."""
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _code(names: tuple[str, ...]) -> str:
    """Return the names as Markdown code, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
