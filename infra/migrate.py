"""Brings a database to the shape this version needs; safe to run twice and by two at once, while others work on it.

Scripts run in the order of their names, each once and in one transaction; then those of each extension, in
`{extension}/infra/migrations`, which are known by its name and theirs (`cider/0001_presses.sql`). One that ends in
`.batches.sql` is a single statement that does a part of something big: it runs again and again, each time in a
transaction of its own, until it has nothing left to change. What a script may do to those who still run the version
before, is said and tested in `tests/infra/test_migrations`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from adapters.log.recorder import recorder
from domain.discovery import extensions

_MIGRATING = 0x1ED6E1
#: A lock that does not come is let go again for a while: whoever comes after somebody who waits for one waits as well.
LOCK_SECONDS_MAX = 2.0
PAUSE_SECONDS = 1.0
#: How often a script waits for its lock in all, some ten minutes.
ATTEMPTS_MAX = 200


def migrate(postgres_url: str, scripts: Traversable | None = None) -> list[str]:
    """Create the log if it is not there, run the migrations that have not run, and say which ones did."""
    done = []
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATING,))
        log = recorder(postgres_url)
        log.create_table()
        log.datastore.close()
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, ran_at timestamptz NOT NULL)")
        ran = {row[0] for row in connection.execute("SELECT name FROM migrations")}
        for name, script in _found() if scripts is None else _below(scripts):
            if name not in ran:
                _run(connection, name, script.read_text().encode())
                done.append(name)
    return done


def _found() -> Iterator[tuple[str, Traversable]]:
    """Every script by its name: ours, then those of extensions."""
    yield from _below(files("infra").joinpath("migrations"))
    for extension in extensions():
        place = files(extension).joinpath("infra", "migrations")
        if place.is_dir():
            yield from _below(place, f"{extension}/")


def _below(place: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    """The scripts in a folder, in the order of their names."""
    for script in sorted(place.iterdir(), key=lambda path: path.name):
        if script.name.endswith(".sql"):
            yield prefix + script.name, script


def _run(connection: Connection[Any], name: str, statements: bytes) -> None:
    """Run a script, and note that it has run; in parts, where it is one of those."""
    if name.endswith(".batches.sql"):
        while _patiently(connection, statements):
            pass
        connection.execute("INSERT INTO migrations VALUES (%s, now())", (name,))
    else:
        _patiently(connection, statements, name)


def _patiently(connection: Connection[Any], statements: bytes, name: str | None = None) -> int:
    """Run statements in a transaction once their locks are free; how many rows the last of them has changed."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS_MAX * 1000)}")
                changed = connection.execute(statements).rowcount
                if name is not None:
                    connection.execute("INSERT INTO migrations VALUES (%s, now())", (name,))
                return changed
        except LockNotAvailable:
            if attempt == ATTEMPTS_MAX:
                raise
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("there is at least one attempt")
