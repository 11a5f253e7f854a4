"""Brings a database to the shape this version needs; safe to run twice and by two at once."""

from __future__ import annotations

from importlib.resources import files

import psycopg

from adapters.log.recorder import recorder

_MIGRATING = 0x1ED6E1


def migrate(postgres_url: str) -> list[str]:
    """Create the log if it is not there, run the migrations that have not run, and say which ones did."""
    done = []
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATING,))
        log = recorder(postgres_url)
        log.create_table()
        log.datastore.close()
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, ran_at timestamptz NOT NULL)")
        ran = {row[0] for row in connection.execute("SELECT name FROM migrations")}
        for script in sorted(files("infra").joinpath("migrations").iterdir(), key=lambda path: path.name):
            if script.name.endswith(".sql") and script.name not in ran:
                with connection.transaction():
                    connection.execute(script.read_text().encode())
                    connection.execute("INSERT INTO migrations VALUES (%s, now())", (script.name,))
                done.append(script.name)
    return done
