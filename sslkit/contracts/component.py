"""Base class of all components."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from sslkit.contracts.options import NoOptions
from sslkit.contracts.options import Options as BaseOptions


class Component:
    """Base class of all components: data sets, views, backbones, heads, losses, methods, optimizers, evaluators.

    sslkit builds a component as ``Class(options, context)``, with its validated options and the runtime ``Context``.
    Data sets and evaluators receive the options only; a method also receives its ``Parts``.

    State that lasts longer than a step belongs in checkpoints. Return tensors from ``state_dict`` (parameters and
    buffers), and tensors or plain values from ``get_extra_state``. Backbones and heads are exported as safetensors, so
    their extra state must be tensors.

    With several processes, the buffers of process 0 are copied to the others before each step. Write only values into
    buffers that are equal in all processes (use ``context.world.gather``).

    Attributes:
        api: int, the contract version that the component is written for. Required.
        Options: subclass of ``sslkit.Options`` that declares the options. Default: no options.
        variant_option: name of the option that ``use = "name:variant"`` sets, for a family of components such as
            ``timm:resnet50``. Default: empty, the component has no variants.
        check_context: mapping, facts of the ``Context`` in which conformance tests build the component, such as
            ``{"classifiers": (5,)}``. Default: empty, those of a small training.
    """

    api: ClassVar[int]
    Options: ClassVar[type[BaseOptions]] = NoOptions
    variant_option: ClassVar[str] = ""
    check_context: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any] | None:
        """Return options with which ``sslkit plugins check`` tests the component in seconds, as in a recipe.

        With them, it also runs the tests that read images or evaluate a network. A data set may write a few images
        into ``folder``, which is empty and deleted afterwards::

            @classmethod
            def check_options(cls, folder):
                torch.save(torch.zeros(8, 1, 32, 32, dtype=torch.uint8), folder / "images.pt")
                return {"root": str(folder)}

        Args:
            folder: temporary folder.

        Returns:
            The options, ``{}`` for the default ones. None, the default, leaves out slow tests.
        """
        return None
