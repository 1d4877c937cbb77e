"""Avoid slow downloads from the Hugging Face hub when it cannot be reached."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants

TIMEOUT = 10.0
"""Seconds to wait for the hub; the hub's own client would try each file six times."""


@contextmanager
def offline_if_unreachable() -> Iterator[str]:
    """Use only cached files if the hub cannot be reached.

    Yields:
        The reason why the hub is not used, or an empty string.
    """
    reason = "" if constants.HF_HUB_OFFLINE else _failure()
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or bool(reason)
    try:
        yield "HF_HUB_OFFLINE is set" if before else reason
    finally:
        constants.HF_HUB_OFFLINE = before


def _failure() -> str:
    """Return why the hub cannot be reached; empty if it can."""
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
