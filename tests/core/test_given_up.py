"""What contexts have given up is found, asked for once each, and let go of, however much it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from msgspec import json

from adapters.operators import given_up
from adapters.operators.given_up import Done, Refused
from adapters.operators.parked import Filter
from commands.kernel import Command
from commands.webhooks.deliveries import ResumeDelivery, SkipDelivery
from domain.kernel import Unavailable
from domain.webhooks.deliveries import EndpointIsDisabled, NoAttemptLeft
from projections.parking import GivenUp
from tests.core.conftest import House


class Asked:
    """Keeps what it is asked for; has its own mind about some of it."""

    def __init__(self, **refusals: Exception) -> None:
        self.wishes: list[tuple[Command, str]] = []
        self.refusals = refusals
        self.begun = 0

    async def __call__(self, wish: Command, workspace_id: str) -> None:
        """Keep it, or refuse it."""
        [name] = wish.__struct_fields__
        if problem := self.refusals.get(getattr(wish, name)):
            raise problem
        self.wishes.append((wish, workspace_id))

    async def begin(self) -> Asked:
        """Itself, as the caller has it."""
        self.begun += 1
        return self


async def keep(house: House, *documents: tuple[str, GivenUp], workspace_id: str = "w1") -> None:
    """These lie in the read model, and the log is as long."""
    await house.fetch(
        "INSERT INTO checkpoints (name, version, live, fold) VALUES ('parked_deliveries', 1, true, 1), "
        "('webhook_endpoints', 3, true, 1) ON CONFLICT DO NOTHING"
    )
    for identity, document in documents:
        [(position,)] = await house.fetch(
            "INSERT INTO ledger_events (originator_id, originator_version, topic, state) "
            "VALUES (%s, 1, 't', '') RETURNING notification_id",
            identity,
        )
        await house.fetch(
            "INSERT INTO documents (projection, version, id, workspace_id, parent, created, position, body) "
            "VALUES ('parked_deliveries', 1, %s, %s, 'given up', %s, %s, %s)",
            identity, workspace_id, position, position, json.encode(document),
        )  # fmt: skip


def of(identity: str, **more: Any) -> tuple[str, GivenUp]:
    facts = {"name": "n", "about": "a", "stream": f"delivery-{identity}", "state": "given up", "problem": "p"} | more
    return identity, GivenUp(**facts)


def connections(house: House) -> Callable[[], AbstractAsyncContextManager[Any]]:
    return house.pool.connection


async def test_of_many_each_is_asked_for_once_and_refusals_are_told_together(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_up, "PAGE", 4)
    monkeypatch.setattr(given_up, "TOGETHER", 3)
    await keep(house, *(of(f"d{n}") for n in range(8)))
    await keep(house, of("other", name="m"), workspace_id="w2")
    left = NoAttemptLeft(attempts_max=50)
    asked = Asked(d1=left, d2=EndpointIsDisabled(), d7=left)
    done = await given_up.retry(connections(house), Filter(name="n"), asked.begin)
    assert done == Done(
        numbers={"jobs": 0, "streams": 0, "deliveries": 5},
        refused=(
            Refused(kind="delivery", code="endpoint_is_disabled", message=EndpointIsDisabled().sentence, number=1),
            Refused(kind="delivery", code="no_attempt_left", message=left.sentence, number=2),
        ),
    )
    assert sorted(repr(wish) for wish, _ in asked.wishes) == [
        repr(ResumeDelivery(delivery_id=f"d{n}")) for n in (0, 3, 4, 5, 6)
    ]
    assert asked.begun == 1, "what is asked for together is one request"
    everything = Asked()
    await given_up.skip(connections(house), Filter(workspace_id="w2"), everything.begin)
    assert everything.wishes == [(SkipDelivery(delivery_id="other"), "w2")]


async def test_what_is_given_up_again_meanwhile_is_not_asked_for_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_up, "PAGE", 1)
    await keep(house, of("d1"), of("d2"))

    class Busy(Asked):
        """While it is asked, another one is given up."""

        async def __call__(self, wish: Command, workspace_id: str) -> None:
            """Keep it."""
            await super().__call__(wish, workspace_id)
            assert len(self.wishes) < 5, "it would never end"
            await keep(house, of(f"new {len(self.wishes)}"))

    asked = Busy()
    done = await given_up.retry(connections(house), Filter(), asked.begin)
    assert done.numbers["deliveries"] == len(asked.wishes) == 2


async def test_nothing_more_is_asked_for_where_nobody_can_answer(house: House) -> None:
    await keep(house, of("d1"))
    with pytest.raises(Unavailable):
        await given_up.retry(connections(house), Filter(), Asked(d1=Unavailable()).begin)

    async def nobody() -> Asked:
        raise AssertionError("there is nothing to ask for")

    for meant in (Filter(kind="job"), Filter(name="nobody")):
        assert (await given_up.retry(connections(house), meant, nobody)).numbers["deliveries"] == 0


async def test_what_belonged_to_what_is_no_more_is_neither_shown_nor_counted_nor_asked_for(house: House) -> None:
    await keep(house, of("d1", owner="gone"), of("d2", owner="there"), of("d3"))
    await house.fetch(
        "INSERT INTO documents (projection, version, id, workspace_id, created, position, body) VALUES "
        "('webhook_endpoints', 3, 'there', 'w1', 1, 1, '{}'), ('webhook_endpoints', 2, 'gone', 'w1', 1, 1, '{}')"
    )
    async with house.pool.connection() as connection:
        found = await given_up.look(connection, Filter())
        assert [each.stream for each in found] == ["delivery-d2", "delivery-d3"]
        assert [each.stream for each in await given_up.look(connection, Filter(), 1)] == ["delivery-d2"]
        await connection.execute(
            "INSERT INTO jobs (reaction, position, stream, due_at, state) VALUES ('r', 1, 's', now(), 'parked')"
        )
        found = await given_up.look(connection, Filter(), 2)
        assert [each.kind for each in found] == ["job", "delivery"]
        assert await given_up.counted(connection, 10) == {"deliveries": 2}
        assert await given_up.counted(connection, 1) == {"deliveries": 1}
    asked = Asked()
    await given_up.skip(connections(house), Filter(kind="delivery"), asked.begin)
    assert len(asked.wishes) == 2


async def test_no_more_of_them_are_read_than_are_wanted(house: House) -> None:
    await keep(house, of("d1"))
    await house.fetch(
        "INSERT INTO documents (projection, version, id, workspace_id, parent, created, position, body) "
        "SELECT projection, version, 'more ' || n, workspace_id, parent, created + n, position + n, body "
        "FROM documents, generate_series(1, 20000) AS n"
    )
    await house.fetch("ANALYZE documents")
    async with house.pool.connection() as connection:
        assert len(await given_up.look(connection, Filter(), 100)) == 100
    await house.fetch("SELECT pg_stat_reset()")
    async with house.pool.connection() as connection:
        await given_up.look(connection, Filter(), 100)
    [(_, read)] = await house.fetch(
        "SELECT pg_stat_force_next_flush(), seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables "
        "WHERE relname = 'documents'"
    )
    assert read <= 200
