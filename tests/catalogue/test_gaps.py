"""Whoever dies between what a route of the catalogue writes down and what it does then leaves nothing undone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from api.auth import Asker
from api.catalogue.browser_profiles import NewBrowserProfile, import_browser_profile
from api.catalogue.royalties import Resolution, resolve_title
from commands.catalogue.ports import CookieJars, Importing
from commands.catalogue.reactions import resolve_title as resolve_again
from commands.catalogue.sweeping import sweep_cookies
from commands.kernel import Command, execute
from domain.catalogue.browser_profiles import BrowserProfileImported
from domain.catalogue.titles import TitleResolved
from domain.kernel import Conflict
from domain.ledger import Context
from tests.catalogue.test_sweeping import staged

ASKER = Asker(workspace_id="w1", person_id="ada", actor="person:ada", scopes=(), correlation_id=UUID(int=1))


class Jars:
    """Cookies of profiles; who asks to forget them first, dies."""

    is_configured = True

    def __init__(self) -> None:
        self.profiles: list[int] = []
        self.deaths = 1

    async def keep(self, workspace_id: str, cookies: bytes) -> int:
        self.profiles.append(1001 + len(self.profiles))
        return self.profiles[-1]

    async def kept(self, before: datetime) -> list[tuple[str, int]]:
        return [("w1", each) for each in self.profiles]

    async def forget(self, workspace_id: str, profile_id: int) -> None:
        if self.deaths:
            self.deaths -= 1
            raise InterruptedError
        self.profiles.remove(profile_id)


class Refused(Conflict):
    """There are enough profiles."""


@pytest.mark.parametrize("dies", ["as it is to be written down", "once it was refused"])
async def test_cookies_of_a_profile_that_is_not_there_go_whoever_died(dies: str) -> None:
    jars = Jars()
    scene = staged({CookieJars: jars})
    is_late = False

    async def write(command: Command, context: Context) -> int:
        if is_late:
            raise Refused if dies == "once it was refused" else InterruptedError
        return await execute(command, scene.log, scene.now, context)

    ports: Any = SimpleNamespace(cookies=jars, execute=write)
    profile = NewBrowserProfile(name="A session", cookies=[{"domain": "a.example", "name": "a", "value": "b"}])
    await import_browser_profile.fn(profile, ports, ASKER)
    is_late = True
    with pytest.raises(InterruptedError):
        await import_browser_profile.fn(profile, ports, ASKER)
    assert jars.profiles == [1001, 1002]

    jars.deaths = 0
    assert await sweep_cookies.handler(await scene.ports(sweep_cookies.ports), datetime.now(UTC) + timedelta(hours=1))
    assert jars.profiles == [each.event.profile_id for each in scene.log.all if _is_a_profile(each.event)]  # type: ignore[attr-defined]


def _is_a_profile(event: object) -> bool:
    return isinstance(event, BrowserProfileImported)


class Books:
    """Books in which one title waits; who resolves it first, dies."""

    def __init__(self) -> None:
        self.deaths = 1
        self.isrc: str | None = None

    async def titles(self, workspace_id: str, *, title_id: str) -> list[Any]:
        return [SimpleNamespace(id=title_id, artist="A", title="T", reason="unknown", rows=3, isrc=self.isrc)]

    async def resolve(self, workspace_id: str, title_id: str, isrc: str) -> None:
        if self.deaths:
            self.deaths -= 1
            raise InterruptedError
        self.isrc = isrc


async def test_a_title_that_is_resolved_by_whoever_dies_then_is_what_was_said() -> None:
    books = Books()
    scene = staged({Importing: books})

    async def write(command: Command, context: Context) -> int:
        return await execute(command, scene.log, scene.now, context)

    reading = SimpleNamespace(importing=books, log=scene.log)
    ports: Any = SimpleNamespace(books=books, execute=write, reading=reading)
    with pytest.raises(InterruptedError):
        await resolve_title.fn("title-1", Resolution(isrc="USXXX1234567"), ports, ASKER)
    assert books.isrc is None

    await scene.follows(resolve_again, scene.last(TitleResolved))
    assert books.isrc == "USXXX1234567"


class BusyBooks(Books):
    """Whoever comes to these books first waits for their turn until somebody else has had theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.deaths = 0
        self.first_come, self.had = asyncio.Event(), asyncio.Event()

    async def resolve(self, workspace_id: str, title_id: str, isrc: str) -> None:
        if not self.first_come.is_set():
            self.first_come.set()
            await self.had.wait()
        await super().resolve(workspace_id, title_id, isrc)


async def test_a_title_is_what_was_said_last_whoever_waits_for_the_books() -> None:
    books = BusyBooks()
    scene = staged({Importing: books})

    async def write(command: Command, context: Context) -> int:
        return await execute(command, scene.log, scene.now, context)

    ports: Any = SimpleNamespace(books=books, execute=write, reading=SimpleNamespace(importing=books, log=scene.log))
    first = asyncio.ensure_future(resolve_title.fn("title-1", Resolution(isrc="USXXX1234567"), ports, ASKER))
    await books.first_come.wait()
    said_first = scene.last(TitleResolved)
    await resolve_title.fn("title-1", Resolution(isrc="GBXXX7654321"), ports, ASKER)
    # What follows from both is done, and done again, while the first still waits.
    for said in (said_first, scene.last(TitleResolved), said_first):
        await scene.follows(resolve_again, said)
        assert books.isrc == "GBXXX7654321"
    books.had.set()
    await first
    assert books.isrc == "GBXXX7654321"
