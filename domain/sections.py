"""Settings in sections, each a typed value beside what it configures, in a module called `settings`; found, not listed.

    class Webhooks(Section, frozen=True):
        ...  # its docstring is the heading of its table

        webhook_seconds_max: Annotated[Seconds, says("Time a webhook's receiver has to answer")] = 15.0

A field is the environment variable of its name (`LEDGERLINE_WEBHOOK_SECONDS_MAX`) and has a default. What a section
configures receives the section: `settings[Webhooks]`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from typing import Annotated, Any, Protocol, TypeVar
from urllib.parse import unquote

from msgspec import Meta

from domain.kernel import Value

PREFIX = "LEDGERLINE_"

S = TypeVar("S", bound="Section")


class CannotStart(Exception):
    """Something that only a person can mend; the message is a sentence for the one at the keyboard."""


class Section(Value, frozen=True):
    """Some of what an operator can turn; the docstring is the heading of its table."""

    def problems(self) -> Iterator[str]:
        """What is wrong beyond the types, each a sentence that names the variable."""
        yield from ()

    def conflicts(self, others: Sections) -> Iterator[str]:
        """What is wrong with it beside what other sections say, each a sentence that names the variable."""
        del others
        yield from ()


class Sections(Protocol):
    """One value of every section: the settings as a declaration that depends on them sees them."""

    def __getitem__(self, section: type[S], /) -> S:
        """The section of a type."""

    def environment(self) -> dict[str, str]:
        """The variables that make another process read the same settings."""


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def says(text: str, *, needed: bool = False, schemes: tuple[str, ...] = (), development: int = 0) -> Meta:
    """The line of a field in the settings table.

    No role can run without what is `needed`. A URL (or several, with commas) begins with one of `schemes`. In
    development on a loopback address a number is at least `development`, unless somebody says otherwise.
    """
    extra = {"needed": needed, "schemes": schemes, "development": development}
    return Meta(description=text, extra={name: value for name, value in extra.items() if value})


Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Secret:
    """A text that is shown to nobody by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"

    __str__ = __repr__


class Url(str):
    """A URL whose password, if it has one, stays out of reprs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(without_password(self))


#: Where a user without a password has a name. Elsewhere, as for NATS, what stands there alone is a token.
_NAMES_USERS = ("postgresql", "postgres", "smtp", "smtps")


def without_password(url: str) -> str:
    """The URL as it may be shown: no password, no token."""
    # A password may itself have an `@`, so the host begins after the last one; several URLs are told by their `://`.
    open_host = re.sub(r"(\w+)://([^/]*)@", _without_credentials, str(url))
    return re.sub(r"([?&])([^=&]*)=([^&]*)", _without_value, open_host)


def _without_credentials(found: re.Match[str]) -> str:
    scheme, (user, colon, _) = found[1], found[2].partition(":")
    name = user if colon or scheme.lower() in _NAMES_USERS else "***"
    return f"{scheme}://{name}{':***' if colon else ''}@"


def _without_value(found: re.Match[str]) -> str:
    is_secret = re.search("password|secret|token|scram", unquote(found[2]), re.IGNORECASE)
    return f"{found[1]}{found[2]}=***" if is_secret else found[0]


def told(kind: Any) -> Meta:
    """What `says` said of a field with this annotation."""
    return next(meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, Meta) and meta.description)
