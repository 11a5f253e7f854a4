"""How often something may be asked: declared on routes and surfaces, counted in all processes together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from litestar import Request

from adapters.web import rate_limits
from adapters.web.rate_limits import DrawOne, Limiter
from adapters.web.settings import WrongKeys
from api.settings import Rates
from domain.kernel import Exhausted, Value
from domain.sections import Section, Sections

S = TypeVar("S", bound=Section)

DAY_SECONDS = 86_400
HOUR_SECONDS = 3600
MINUTE_SECONDS = 60
#: Where the verdict on a request waits for its headers to be written.
VERDICT = "ledgerline_rate"

Connection = Request[Any, Any, Any]


class RateLimitExceeded(Exhausted):
    """Rate limit exceeded. {limit} requests per {window_seconds}s."""


class Rate(Value):
    """So many requests in a window, as a section of the settings says: by the client's address, or by a subject.

    What counts by address is refused before the body of a request is read. The rest the route spends, once it knows
    what it needs: `ports.limits.take(request, mailbox)` whom it is about, `take_source` which device asks,
    `take_failure` that somebody asked in vain. All rates of one name count together.
    """

    name: str
    section: type[Section]
    limit: Callable[[Any], int]
    window_seconds: int
    by: Literal["address", "source", "subject", "both", "failure"]

    def key(self, subject: str) -> str:
        """What it counts under."""
        return f"{self.name}/{subject}" if self.name else subject


def by_address(name: str, section: type[S], limit: Callable[[S], int], window_seconds: int = HOUR_SECONDS) -> Rate:
    """A limit for each address that a route is asked from."""
    return Rate(name=name, section=section, limit=limit, window_seconds=window_seconds, by="address")


def by_source(name: str, section: type[S], limit: Callable[[S], int], window_seconds: int = HOUR_SECONDS) -> Rate:
    """A limit for each address, but for known devices there, which the route tells apart with `take_source`."""
    return Rate(name=name, section=section, limit=limit, window_seconds=window_seconds, by="source")


def by_subject(name: str, section: type[S], limit: Callable[[S], int], window_seconds: int = HOUR_SECONDS) -> Rate:
    """A limit for each mailbox, key or whatever else a route names."""
    return Rate(name=name, section=section, limit=limit, window_seconds=window_seconds, by="subject")


def by_both(name: str, section: type[S], limit: Callable[[S], int], window_seconds: int = HOUR_SECONDS) -> Rate:
    """A limit for what one address asks about one subject, so that nobody spends what others may ask about it."""
    return Rate(name=name, section=section, limit=limit, window_seconds=window_seconds, by="both")


def by_failure(name: str, section: type[S], limit: Callable[[S], int], window_seconds: int = HOUR_SECONDS) -> Rate:
    """A limit for each address on what is asked in vain: with a key, a code or a secret that is none."""
    return Rate(name=name, section=section, limit=limit, window_seconds=window_seconds, by="failure")


#: What one key or session may ask in all.
PER_KEY = by_subject("", Rates, lambda rates: rates.rate_limit_per_minute, MINUTE_SECONDS)
#: Wrong keys: asking costs a look into the database, so nobody asks about made-up ones without end.
REFUSED = by_failure(
    rate_limits.REFUSED, WrongKeys, lambda wrong: wrong.refused_limit_per_minute, rate_limits.REFUSED_WINDOW_SECONDS
)


def rate(*rates: Rate) -> dict[str, tuple[Rate, ...]]:
    """The `opt` of a route with limits of its own."""
    return {"rates": rates}


@dataclass(frozen=True)
class Limits:
    """Counts requests against what is declared."""

    limiter: Limiter
    sections: Sections

    async def take_declared(self, connection: Connection, address: str, *, has_device: bool = False) -> None:
        """Count a request under those limits of its route that go by address.

        Whose route counts known devices apart, and who says to be one, is counted once the route knows whether it is.
        """
        await self._spend(connection, {"address": address} if has_device else {"address": address, "source": address})

    async def take_source(self, connection: Connection, source: str) -> None:
        """Count a request of somebody who says to be a known device, under those limits that go by source."""
        await self._spend(connection, {"source": source})

    async def take_failure(self, connection: Connection, address: str) -> None:
        """Count a request that was made in vain, under those limits of its route that go by failures."""
        await self._spend(connection, {"failure": address})

    async def take(self, connection: Connection, subject: str, source: str = "", draw: DrawOne | None = None) -> None:
        """Count a request under those limits of its route that go by a subject, which is known now.

        `source` is where it comes from, for limits that go by both. They are counted in the order in which the route
        names them: what one has stopped is not counted under the next. `draw` is as in `Limiter.take`.
        """
        await self._spend(connection, {"subject": subject, "both": f"{subject}/{source}"}, draw)

    async def _spend(self, connection: Connection, known: Mapping[str, str], draw: DrawOne | None = None) -> None:
        """Count a request under those limits of its route for which it is known what they count by."""
        for each in connection.route_handler.opt["rates"]:
            if each.by in known:
                await self.count(connection, each, known[each.by], draw)

    async def count(self, connection: Connection, limit: Rate, subject: str, draw: DrawOne | None = None) -> None:
        """Count a request, note what to tell about it, and refuse it when it is one too many.

        For limits of surfaces and of whoever lets in; those of routes are declared and taken.
        """
        key, most = limit.key(subject), limit.limit(self.sections[limit.section])
        # What can be decided without asking anybody is not waited for.
        verdict = self.limiter.spend(key, most, limit.window_seconds)
        if verdict is None:
            verdict = await self.limiter.take(key, most, limit.window_seconds, draw)
        connection.scope["state"][VERDICT] = verdict
        if not verdict.allowed:
            raise RateLimitExceeded(
                limit=verdict.limit, window_seconds=verdict.window_seconds, retry_after_seconds=verdict.reset_seconds
            )
