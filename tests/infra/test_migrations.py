"""Migrations run while everybody works: they add to what is there, and take away only what nobody has used for long."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest

from infra import migrate as migrating
from infra.migrate import migrate
from tests.conftest import Databases

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    Path(str(each)) for each in files("infra").joinpath("migrations").iterdir() if each.name.endswith(".sql")
)
#: The last one that was written when everybody still stopped for them.
LAST_OF_BEFORE = "0130_build_jobs_in_turn.sql"
#: What the version before cannot live with, and what to do instead.
BREAKS = {
    r"\bDROP\s+(TABLE|COLUMN|FUNCTION|TYPE|VIEW)\b": "the version before may use it: leave it, and contract later",
    r"\bRENAME\b": "the version before knows it by its old name: add another, and contract later",
    r"\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b": "it rewrites the table under a lock: add another column",
    r"\bSET\s+NOT\s+NULL\b": "the version before may write none: give it a default first, and contract later",
    r"\bDROP\s+DEFAULT\b": "the version before may leave it out",
    r"\bADD\s+COLUMN\s+(IF\s+NOT\s+EXISTS\s+)?\w+\s+(?:(?!DEFAULT|,|;).)*\bNOT\s+NULL\b(?:(?!DEFAULT|,|;).)*[,;]":
        "the version before leaves it out: give it a default",
    r"\bADD\s+(CONSTRAINT\b(?!.*NOT\s+VALID)|UNIQUE\b|PRIMARY\b|CHECK\b(?!.*NOT\s+VALID))":
        "it is checked under a lock, and the version before may break it",
    r"\bTRUNCATE\b": "somebody uses it",
    r"\bLOCK\s+TABLE\b": "everybody waits for it",
    r"\b(UPDATE|DELETE\s+FROM)\b": "it may be big: do it in parts, in a script that ends in `.batches.sql`",
}  # fmt: skip
#: `-- contract: unused since 0.2.0` at the head of a script that takes something away.
CONTRACT = re.compile(r"^-- contract: unused since ([0-9.]+)$", re.MULTILINE)
#: What a function does happens in the statements of whoever runs it, and when a trigger does is no statement.
_LATER = re.compile(
    r"(\bCREATE\s+FUNCTION\b(?:(?!;|\$\$).)*\$\$).*?(?=\$\$)|\bAFTER\s+UPDATE\b", re.IGNORECASE | re.DOTALL
)
#: What is taken away, by name.
_TAKEN = re.compile(r"\bDROP\s+(?:TABLE|COLUMN)\s+(?:IF\s+EXISTS\s+)?(\w+)", re.IGNORECASE)


def problems(name: str, text: str) -> Iterator[str]:
    """What of a script those who run the version before could not live with."""
    statements = _LATER.sub(r"\1", re.sub(r"--[^\n]*", "", text))
    if name.endswith(".batches.sql"):
        if statements.strip().rstrip(";").count(";") or not re.search(r"\bLIMIT\b", statements, re.IGNORECASE):
            yield "a script in parts is one statement with a LIMIT"
        return
    contract = CONTRACT.search(text)
    for pattern, advice in BREAKS.items():
        if (found := re.search(pattern, statements, re.IGNORECASE | re.DOTALL)) and contract is None:
            yield f"{' '.join(found[0].split())}: {advice}"
    if contract is not None:
        yield from _used(contract[1], statements)


def _used(since: str, statements: str) -> Iterator[str]:
    if _ordered(since) >= _ordered(version("ledgerline")):
        yield f"{since} is not before this version: whoever updates from there still uses it"
    code = "\n".join(
        path.read_text() for layer in ("adapters", "api", "infra") for path in (ROOT / layer).rglob("*.py")
    )
    for taken in _TAKEN.findall(statements):
        if re.search(rf"\b{taken}\b", code):
            yield f"{taken} is used"


def _ordered(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


@pytest.mark.parametrize("script", [each for each in SCRIPTS if each.name > LAST_OF_BEFORE], ids=lambda path: path.name)
def test_whoever_runs_the_version_before_can_live_with_it(script: Path) -> None:
    assert not list(problems(script.name, script.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE documents;",
        "ALTER TABLE jobs DROP COLUMN problem;",
        "ALTER TABLE jobs RENAME COLUMN problem TO trouble;",
        "ALTER TABLE jobs RENAME TO work;",
        "ALTER TABLE jobs ALTER COLUMN attempts TYPE bigint;",
        "ALTER TABLE jobs ALTER COLUMN problem SET NOT NULL;",
        "ALTER TABLE jobs ALTER COLUMN attempts DROP DEFAULT;",
        "ALTER TABLE jobs ADD COLUMN colour text NOT NULL;",
        "alter table jobs\n  add column a int,\n  add column colour text not null check (colour <> '');",
        "ALTER TABLE jobs ADD CONSTRAINT one UNIQUE (stream);",
        "UPDATE jobs SET attempts = 0;",
        "DO $$ BEGIN UPDATE jobs SET attempts = 0; END $$;",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ SELECT 1; $$; UPDATE jobs SET attempts = 0;",
        "-- contract: unused since 99.0.0\nDROP TABLE nobody_knows_it;",
        "-- contract: unused since 0.0.1\nALTER TABLE jobs DROP COLUMN due_at;",
    ],
)
def test_what_it_could_not_live_with_is_refused(text: str) -> None:
    assert list(problems("9999_x.sql", text))


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE things (id text NOT NULL PRIMARY KEY, n int NOT NULL);",
        "ALTER TABLE jobs ADD COLUMN colour text;",
        "ALTER TABLE jobs ADD COLUMN colour text NOT NULL DEFAULT 'red';",
        "ALTER TABLE jobs ADD CONSTRAINT few CHECK (attempts < 1000) NOT VALID;",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM jobs; RETURN NULL; END $$;",
        "CREATE TRIGGER t AFTER UPDATE ON jobs FOR EACH STATEMENT EXECUTE FUNCTION f();",
        "CREATE INDEX IF NOT EXISTS jobs_by_colour ON jobs (colour);",
        "-- contract: unused since 0.0.1\nALTER TABLE jobs DROP COLUMN nobody_names_it;",
    ],
)
def test_what_only_adds_is_fine(text: str) -> None:
    assert not list(problems("9999_x.sql", text))


def test_a_script_in_parts_is_one_statement_that_ends() -> None:
    part = "UPDATE t SET a = 1 WHERE id IN (SELECT id FROM t WHERE a IS NULL LIMIT 1000)"
    assert not list(problems("9999_x.batches.sql", part))
    assert list(problems("9999_x.batches.sql", f"{part}; {part}"))
    assert list(problems("9999_x.batches.sql", "UPDATE t SET a = 1"))


def _write(directory: Path, **scripts: str) -> Path:
    for name, text in scripts.items():
        (directory / f"{name.replace('__', '.')}.sql").write_text(text)
    return directory


def test_something_big_is_done_in_parts_that_are_taken_up_again(database_url: str, tmp_path: Path) -> None:
    _write(
        tmp_path,
        n0001_things="CREATE TABLE things (id int PRIMARY KEY, done bool);"
        "INSERT INTO things SELECT generate_series(1, 95)",
        n0002_filled__batches="UPDATE things SET done = 1 / (id - 42) IS NOT NULL "
        "WHERE id IN (SELECT id FROM things WHERE done IS NULL ORDER BY id LIMIT 10)",
    )
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(database_url, tmp_path)
    with psycopg.connect(database_url, autocommit=True) as connection:
        left = connection.execute("SELECT count(*) FROM things WHERE done IS NULL").fetchall()
        assert left == [(55,)], "what was done before it failed stays done"
        connection.execute("UPDATE things SET done = true WHERE id = 42")
        assert migrate(database_url, tmp_path) == ["n0002_filled.batches.sql"]
        assert connection.execute("SELECT count(*) FROM things WHERE done IS NULL").fetchall() == [(0,)]
    assert migrate(database_url, tmp_path) == []


def test_whoever_waits_for_a_lock_lets_others_pass(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads for long: the migration waits for them, and nobody else for the migration."""
    url = databases.create()
    monkeypatch.setattr(migrating, "LOCK_SECONDS_MAX", 0.2)
    monkeypatch.setattr(migrating, "PAUSE_SECONDS", 0.5)
    migrate(url, _write(tmp_path, n0001="CREATE TABLE things (id int)"))
    _write(tmp_path, n0002="ALTER TABLE things ADD COLUMN colour text")
    done: list[list[str]] = []
    with psycopg.connect(url) as reader, psycopg.connect(url, autocommit=True) as other:
        reader.execute("SELECT * FROM things")
        thread = threading.Thread(target=lambda: done.append(migrate(url, tmp_path)))
        thread.start()
        other.execute("SET statement_timeout = '15s'")
        for _ in range(5):
            other.execute("SELECT * FROM things")
            time.sleep(0.1)
        assert not done
        reader.rollback()
        thread.join(20)
    assert done == [["n0002.sql"]]
    databases.drop(url)
