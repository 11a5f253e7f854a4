"""What was given up and is for an operator to see to, of whichever context: a document for each thing."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from projections.kernel import Document

GIVEN_UP = "given up"


class GivenUp(Document):
    """A thing that may be given up, and whether it is; what can never be any more has no document.

    `name` is whom it was for and `about` what it was, as an operator names them; `stream` has its events. `owner` is
    the document without which nobody is there for it. `problem` is in words, and `since` when it was given up.
    """

    name: str
    about: str
    stream: str
    state: Literal["on its way", "given up", "skipped"] = "on its way"
    owner: str | None = None
    attempts: int = 0
    problem: str = ""
    since: datetime | None = None


def listed_under(document: GivenUp) -> str | None:
    """The `parent` of such a document, by which those that are given up are found among all others."""
    return GIVEN_UP if document.state == GIVEN_UP else None
