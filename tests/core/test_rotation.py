"""Data keys are wrapped anew while everybody goes on reading and writing."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from cryptography.exceptions import InvalidTag

from adapters.log import data_keys
from adapters.log.data_keys import Cipher, DataKeys, SubjectIsForgotten, export_keys, rotate
from domain.kernel import ERASED
from infra import cli
from tests.core.conftest import House
from tests.core.orchard import SECRET, GardenerHired
from tests.infra.test_cli import COMPLETE


def _rotate(house: House) -> int:
    with psycopg.connect(house.url, autocommit=True) as connection:
        return rotate(connection, SECRET)


def _hired(number: int) -> GardenerHired:
    return GardenerHired(gardener_id=f"g{number}", email=f"{number}@example.com")


async def _emails(house: House) -> list[str]:
    ledger = house.new_ledger()
    ledger._keys = DataKeys(house.pool, SECRET)  # another process, which remembers nothing
    found = await house.everything(ledger)
    return sorted(each.event.email for each in found if isinstance(each.event, GardenerHired))


async def test_what_was_sealed_can_be_read_and_more_can_be_written_after_a_rotation(house: House) -> None:
    for number in range(3):
        await house.record(f"gardener-{number}", _hired(number))
    wrapped: dict[str, bytes] = dict(await house.fetch("SELECT subject, wrapped FROM data_keys"))
    assert await asyncio.to_thread(_rotate, house) == 3
    again: dict[str, bytes] = dict(await house.fetch("SELECT subject, wrapped FROM data_keys"))
    assert set(wrapped) == set(again)
    assert not set(wrapped.values()) & set(again.values())
    # The one that was there has gone; who still wraps with it, as this process does, is refused and looks again.
    assert await house.fetch("SELECT number FROM wrapping_keys") == [(1,)]
    await house.record("gardener-3", _hired(3))
    assert await asyncio.to_thread(_rotate, house) == 4
    await house.record("gardener-4", _hired(4))
    assert await _emails(house) == [f"{number}@example.com" for number in range(5)]


async def test_an_older_copy_of_wrapped_keys_is_worth_nothing_even_with_the_secret(house: House) -> None:
    await house.record("gardener-1", _hired(1))
    await asyncio.to_thread(_rotate, house)
    [(old, number)] = await house.fetch("SELECT wrapped, wrapping FROM data_keys")
    await asyncio.to_thread(_rotate, house)
    left: dict[int, bytes] = dict(await house.fetch("SELECT number, wrapped FROM wrapping_keys"))
    assert number not in left
    outer = Cipher(SECRET, "wrapping keys")
    for by, wrapped in left.items():
        with pytest.raises(InvalidTag):
            Cipher(outer.unwrap(wrapped, str(by)), "data keys").unwrap(old, "g1")
    with pytest.raises(InvalidTag):
        Cipher(SECRET, "data keys").unwrap(old, "g1")


async def test_who_is_forgotten_stays_forgotten(house: House) -> None:
    await house.record("gardener-1", _hired(1))
    await house.record("gardener-2", _hired(2))
    await house.keys.destroy("g1")
    await asyncio.to_thread(_rotate, house)
    await house.keys.destroy("g2")
    await house.keys.destroy("g3")
    assert await _emails(house) == [ERASED, ERASED]
    for number in (1, 2, 3):
        with pytest.raises(SubjectIsForgotten):
            await house.record(f"gardener-{number}", _hired(number), after=9)


async def test_everybody_goes_on_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_keys, "REWRAPPED_TOGETHER", 7)
    hired = 0

    async def hire() -> None:
        nonlocal hired
        ledger = house.new_ledger()
        ledger._keys = DataKeys(house.pool, SECRET)
        while not done.is_set():
            hired += 1
            number = hired
            house_keys = ledger._keys
            await house_keys.ensure({f"g{number}"})
            await house.record(f"gardener-{number}", _hired(number), after=0)

    done = asyncio.Event()
    at_work = [asyncio.create_task(hire()) for _ in range(4)]
    for _ in range(4):
        await asyncio.gather(*(asyncio.to_thread(_rotate, house) for _ in range(2)))
    done.set()
    await asyncio.gather(*at_work)
    assert await _emails(house) == sorted(f"{number}@example.com" for number in range(1, hired + 1))
    [(number,)] = await house.fetch("SELECT number FROM wrapping_keys")
    assert number == 8
    with psycopg.connect(house.url) as connection:
        assert len(export_keys(connection, SECRET)) == hired


def test_the_command_says_how_many(
    core_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (
        COMPLETE | {"LEDGERLINE_POSTGRES_URL": core_url, "LEDGERLINE_SECRET_KEY": SECRET.decode()}
    ).items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)
    assert not cli.main(["keys", "rotate"])
    assert capsys.readouterr().out == "0 data keys are wrapped with a new key.\n"
