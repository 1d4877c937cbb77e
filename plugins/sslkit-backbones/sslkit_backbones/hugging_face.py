"""Downloads of weights from the Hugging Face hub that fail fast without a network."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants

TIMEOUT = 10.0
"""Seconds to wait for the hub; its own client tries each file six times."""


@contextmanager
def offline_if_unreachable() -> Iterator[str]:
    """Use only cached files if the hub cannot be reached; yield the reason, or an empty string."""
    reason = "" if constants.HF_HUB_OFFLINE else _failure()
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or bool(reason)
    try:
        yield "HF_HUB_OFFLINE is set" if before else reason
    finally:
        constants.HF_HUB_OFFLINE = before


def _failure() -> str:
    """Return why no connection to the hub is possible; empty if it answers."""
    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return ""  # it answers
    except OSError as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLError):
            return ""  # the hub's client may trust other certificates
        return f"{constants.ENDPOINT} cannot be reached ({cause})"
    return ""
