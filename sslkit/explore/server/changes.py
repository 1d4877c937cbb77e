"""POST requests of the page, such as ``move`` or ``train``: the JSON body and the function of each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from sslkit.explore.session import Session
    from sslkit.explore.workbench import Workbench


class Change(BaseModel):
    """JSON body of a request. Unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str
    """Name of the run that the page shows. If the server shows another run by now, the request is refused."""


Images = Annotated[list[int], Field(min_length=1, max_length=1_000_000)]
Name = Annotated[str, Field(max_length=200)]


class Move(Change):
    """Body of the request to move images to the class ``number``, or to a new class ``name`` if ``number`` is None."""

    images: Images
    number: int | None
    name: Name = ""


class Mark(Change):
    """Body of the request to mark images as outliers or ignored; ``Workbench.mark`` describes ``number``."""

    images: Images
    number: int | None


class Rename(Change):
    """Body of the request to name a class."""

    number: int
    name: Name


class Merge(Change):
    """Body of the request to merge classes under one name."""

    numbers: Annotated[list[int], Field(min_length=2, max_length=10_000)]
    name: Name


class Preview(Change):
    """Body of the request to show how a class would be split into ``parts`` classes."""

    number: int
    parts: Annotated[int, Field(ge=2, le=20)]


class Split(Preview):
    """Body of the request to split a class as shown in the preview."""

    version: int


def _preview(bench: Workbench, body: Any) -> dict[str, Any]:
    version = bench.version  # if the classes change during the preview, the split is refused
    return {"parts": bench.preview_split(body.number, body.parts), "version": version}


Action = Callable[["Session", Any], Any]
"""Function that gets the session and the JSON body of a request; the page gets what it returns."""


def _change(act: Callable[[Workbench, Any], Any]) -> Action:
    return lambda session, body: act(session.loaded.bench, body)


CHANGES: Mapping[str, tuple[type[Change], Action]] = {
    "move": (Move, _change(lambda bench, body: {"number": bench.move(body.images, body.number, body.name)})),
    "mark": (Mark, _change(lambda bench, body: bench.mark(body.images, body.number))),
    "name": (Rename, _change(lambda bench, body: bench.rename(body.number, body.name))),
    "merge": (Merge, _change(lambda bench, body: {"number": bench.merge(body.numbers, body.name)})),
    "preview": (Preview, _change(_preview)),
    "split": (Split, _change(lambda bench, body: bench.split(body.number, body.parts, body.version))),
    "undo": (Change, _change(lambda bench, _: bench.undo())),
    "redo": (Change, _change(lambda bench, _: bench.redo())),
    "train": (Change, lambda session, _: session.training.start(session.loaded.bench)),
    "open": (Change, lambda session, _: session.open_trained()),
}
"""JSON body and function of each request ``api/NAME``."""
