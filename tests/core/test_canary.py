"""A wrong secret key is a failed start, in one sentence."""

from __future__ import annotations

import os

import psycopg
import pytest

from adapters.log.canary import WrongSecretKey, check_secret
from adapters.log.data_keys import Cipher
from adapters.postgres.retrying import Pool
from domain.sections import Secret
from infra.container import container
from tests.journeys.kit import Stack, typed

RIGHT, WRONG = b"r" * 40, b"w" * 40


async def test_the_first_key_is_the_one_that_counts(core_url: str) -> None:
    await check_secret(core_url, RIGHT)
    await check_secret(core_url, RIGHT)
    with pytest.raises(WrongSecretKey, match="LEDGERLINE_SECRET_KEY is not the key"):
        await check_secret(core_url, WRONG)


async def test_a_database_from_before_is_held_to_the_keys_it_has(core_url: str) -> None:
    with psycopg.connect(core_url, autocommit=True) as connection:
        wrapped = Cipher(RIGHT, "data keys").wrap(os.urandom(32), "person-1")
        connection.execute("INSERT INTO data_keys (subject, wrapped) VALUES ('person-1', %s)", (wrapped,))

    with pytest.raises(WrongSecretKey):
        await check_secret(core_url, WRONG)
    await check_secret(core_url, RIGHT)


@pytest.mark.parametrize("command", ["migrate", "serve", "relay", "project", "react", "tick"])
def test_no_process_starts_with_a_wrong_key(command: str, stack: Stack) -> None:
    wrong = stack.settings.changed(secret_key=Secret("another key than the right one, but as long"), port=0)
    ended = typed(command, settings=wrong)
    assert ended.returncode == 2, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("ledgerline: LEDGERLINE_SECRET_KEY is not the key that this database was set up with")
    assert "Traceback" not in ended.stderr


async def test_a_pool_that_opens_later_is_held_to_the_key_too(stack: Stack) -> None:
    async with container(stack.settings) as here, (await here.get(Pool)).connection() as connection:
        (row,) = await (await connection.execute("SELECT count(*) FROM secret_canary")).fetchall()
    assert row == (1,)
