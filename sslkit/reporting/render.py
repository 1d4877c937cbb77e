"""Pages: one HTML file each that needs nothing else, asks the network for nothing and runs no script but its own."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sslkit.reporting.escape import visible


def render(template: str, script: str, values: Mapping[str, Any]) -> str:
    """A page from a template of this package.

    Whatever text goes into it is escaped, and shown on one line without marks that would act on the text around it.

    Args:
        template: its name.
        script: name of the one script that the page may run; its content policy refuses any other, and any request.
        values: what the template fills in.
    """
    environment = Environment(
        loader=PackageLoader("sslkit.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    source = _source(script)
    digest = b64encode(sha256(source.encode()).digest()).decode()
    own = {"style": Markup(_source("page.css")), "script": Markup(source), "script_digest": digest}
    return environment.get_template(template).render(own | dict(values))


def _source(name: str) -> str:
    return (files("sslkit.reporting") / "templates" / name).read_text(encoding="utf-8")
