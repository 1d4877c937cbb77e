"""Base class of all components, which sslkit builds from options and a context."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from sslkit.contracts.options import NoOptions
from sslkit.contracts.options import Options as BaseOptions

LossNeed = Literal["features", "embeddings", "logits", "teacher"]
MethodNeed = Literal["images", "tokens", "feature_maps", "fixed_size", "embeddings", "logits"]
EvaluatorNeed = Literal["labels", "test"]

KNOWN_NEEDS: Mapping[str, tuple[str, ...]] = {
    "loss": get_args(LossNeed),
    "method": get_args(MethodNeed),
    "evaluator": get_args(EvaluatorNeed),
}
"""Allowed names for each kind of component that has an attribute ``needs``."""


class Component:
    """Base class of components: data sets, views, positives, backbones, heads, losses, methods, optimizers, evaluators.

    sslkit builds a component as ``Class(options, context)``, with its validated options and the ``Context`` of the run.
    Data sets and evaluators receive the options only; a method also receives its ``Parts``.

    Checkpoints must contain all state that a later step needs. Keep this state in parameters and buffers, or return
    tensors or plain values from ``get_extra_state``. For backbones and heads, ``get_extra_state`` must return tensors,
    because sslkit exports this state as a safetensors file.

    With more than one process, the buffers of process 0 are copied to the other processes before each step. Write only
    values that are equal in all processes into buffers (use ``context.world.gather``).

    Attributes:
        api: int, the contract version that the component is written for. Required.
        Options: subclass of ``sslkit.Options`` that declares the options. Default: no options.
        variant_option: name of the option that ``use = "name:variant"`` sets, as in ``use = "timm:resnet50"``. Default:
            empty, for a component without variants.
        check_context: mapping from attribute name to value, for the ``Context`` in conformance tests, such as
            ``{"classifiers": (5,)}``. Default: empty; the tests then use the values of a small training run.
    """

    api: ClassVar[int]
    Options: ClassVar[type[BaseOptions]] = NoOptions
    variant_option: ClassVar[str] = ""
    check_context: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any] | None:
        """Return options, as in a recipe, with which ``sslkit plugins check`` can test the component in seconds.

        ``sslkit plugins check`` then also runs the tests that read images or evaluate a network. A data set may write a
        few images into ``folder``::

            @classmethod
            def check_options(cls, folder):
                torch.save(torch.zeros(8, 1, 32, 32, dtype=torch.uint8), folder / "images.pt")
                return {"root": str(folder)}

        Args:
            folder: an empty temporary folder, deleted after the tests.

        Returns:
            The options; ``{}`` for the default options. If None, as in this base class, the slow tests are skipped.
        """
        return None
