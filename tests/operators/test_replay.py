"""Read models are folded again beside the live ones: looked at before, watched, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest

from adapters.postgres.settings import Postgres
from adapters.readmodels.projector import Projector, cancel_rebuild, request_rebuild
from infra import cli
from infra.container import load_everything
from infra.embedded.nats import EmbeddedNats
from projections.kernel import PROJECTIONS, TALLIES
from tests.analyses.examples import requested
from tests.conftest import Databases
from tests.core.conftest import House, _migrate, eventually
from tests.journeys import kit

NAME = "workspaces"


def test_what_would_differ_is_said_before_it_is_changed(
    ask: Callable[..., list[dict[str, Any]]], on_stack: Any, account: Callable[[], Any]
) -> None:
    account()
    with psycopg.connect(on_stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        [(identity, position)] = kit.eventually(
            lambda: connection.execute(
                "UPDATE documents SET workspace_id = 'elsewhere' WHERE (projection, id) IN "
                "(SELECT projection, id FROM documents WHERE projection = %s LIMIT 1) RETURNING id, position",
                (NAME,),
            ).fetchall()
        )
        for asked in ([], ["--from", f"{position - 1}", "--to", f"{position}"]):
            *named, told = ask("replay", NAME, "--dry-run", *asked, status=1)
            assert [each["message"].split()[0] for each in named] == [identity]
            assert (told["would_differ"], told["read_models"]) == ([NAME], 1)
        for asked in (["--from", f"{position}"], ["--to", f"{position - 1}"]):
            [told] = ask("replay", NAME, "--dry-run", *asked)
            assert told["would_differ"] == []
        assert {each["projection"] for each in ask("replay", NAME, "tracks")} == {NAME, "tracks"}
        [told] = ask("replay", NAME, "--dry-run")
        assert told["would_differ"] == []


@pytest.mark.parametrize(
    "words",
    [
        ["replay", "nothing"],
        ["replay"],
        ["replay", NAME, "--from", "1"],
        ["replay", NAME, "--dry-run", "--cancel"],
        ["replay", NAME, "--dry-run", "--from", "-1"],
    ],
)
def test_a_wish_that_means_nothing_is_refused(words: list[str], on_stack: Any) -> None:
    assert on_stack
    assert cli.main(words) == 2


@pytest.fixture
async def house(databases: Databases, nats_server: EmbeddedNats, nats_prefix: str) -> AsyncIterator[House]:
    load_everything()
    url = databases.copy_of("core", _migrate)
    async with House(url, nats_server.url, nats_prefix) as made:
        yield made
    databases.drop(url)


async def test_what_is_being_folded_can_be_let_go_and_the_live_one_stays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_folded, go_on = asyncio.Event(), asyncio.Event()
    swap = Projector._swap

    async def later(self: Projector, *given: Any) -> None:
        is_folded.set()
        await go_on.wait()
        await swap(self, *given)

    monkeypatch.setattr(Projector, "_swap", later)
    name = "platform_analyses"
    await house.ask(requested)

    async def there() -> list[Any]:
        return await house.fetch("SELECT version, live FROM checkpoints WHERE name = %s ORDER BY version", name)

    async def is_discarded() -> bool:
        return await house.fetch("SELECT DISTINCT version FROM documents WHERE projection = %s", name) == [(1,)]

    async with house.projecting(list(PROJECTIONS.values()), list(TALLIES.values())) as projector:
        await house.caught_up(name)
        async with house.pool.connection() as connection:
            assert await request_rebuild(connection, name, PROJECTIONS[name].version) == 2
        await asyncio.wait_for(is_folded.wait(), 20)
        assert await there() == [(1, True), (2, False)]
        async with house.pool.connection() as connection:
            assert await cancel_rebuild(connection, name) == 1
            assert await cancel_rebuild(connection, name) == 0
        go_on.set()
        projector._swapped.set()
        await eventually(is_discarded)
        assert await there() == [(1, True)]
