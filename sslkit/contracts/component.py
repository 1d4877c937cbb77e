"""Base class of all components."""

from __future__ import annotations

from typing import ClassVar

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
    """

    api: ClassVar[int]
    Options: ClassVar[type[BaseOptions]] = NoOptions
    variant_option: ClassVar[str] = ""
