"""The Hugging Face hub: look up cached weights, and use only the cache if the hub cannot be reached."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache

SAFETENSORS_WEIGHTS_NAME, PYTORCH_WEIGHTS_NAME = "model.safetensors", "pytorch_model.bin"
"""File names of the weights in a hub repository, unless timm sets other names."""

TIMEOUT = 10.0
"""Seconds to wait for the hub's answer; ``huggingface_hub`` itself would request each file up to six times."""


@contextmanager
def offline_if_unreachable() -> Iterator[str]:
    """Use only cached files inside the ``with`` block if the hub cannot be reached.

    Yields:
        The reason why the hub is not used, or ``""`` if the hub is used.
    """
    reason = "" if constants.HF_HUB_OFFLINE else _failure()
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or bool(reason)
    try:
        yield "HF_HUB_OFFLINE is set" if before else reason
    finally:
        constants.HF_HUB_OFFLINE = before


def in_hub_cache(config: Any) -> bool:
    """Return whether the hub's cache on this machine has the weights of a timm model.

    Args:
        config: timm's configuration of the pretrained weights, or None if timm has none.
    """
    repository = getattr(config, "hf_hub_id", None)
    if not repository:
        return False
    name = config.hf_hub_filename
    names = [name] if name else [SAFETENSORS_WEIGHTS_NAME, PYTORCH_WEIGHTS_NAME]
    # The cache answers with a path, with None, or with a marker for files that the hub does not have.
    return any(isinstance(try_to_load_from_cache(repository, file), str) for file in names)


def _failure() -> str:
    """Return why the hub cannot be reached, or ``""`` if it can."""
    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return ""  # the hub answers
    except OSError as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLError):
            return ""  # the hub's client may trust other certificates
        return f"{constants.ENDPOINT} cannot be reached ({cause})"
    return ""
