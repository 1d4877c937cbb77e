"""Render templates as single HTML files that load no other file and run only their own script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sslkit.reporting.escape import escape_controls


def render_page(template: str, scripts: Sequence[str], values: Mapping[str, Any]) -> str:
    """Render a template of this package as HTML.

    All text is escaped for HTML. Control characters and text-direction (bidi) marks become visible escape sequences.

    Args:
        template: file name of the template.
        scripts: file names of scripts, which become one script: the only one that the page's content security policy
            allows.
        values: variables of the template.
    """
    environment = Environment(
        loader=PackageLoader("sslkit.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: escape_controls(value) if type(value) is str else value,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    source = "\n".join(map(_source, scripts))
    digest = b64encode(sha256(source.encode()).digest()).decode()
    page = {"style": Markup(_source("page.css")), "script": Markup(source), "script_digest": digest}
    return environment.get_template(template).render(page | dict(values))


def _source(name: str) -> str:
    return (files("sslkit.reporting") / "templates" / name).read_text(encoding="utf-8")
