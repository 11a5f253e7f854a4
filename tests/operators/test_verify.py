"""Whatever is changed in the log behind our back is found, and named."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.log import seals
from adapters.log.recorder import WRITING
from adapters.log.seals import Sealer, merkle_root, read_statement, seal_key
from adapters.operators import parquet
from adapters.operators.exporting import EventLine, SealLine, encode_line, export
from adapters.operators.sealed_log import Checked, Witness, check_log
from infra import cli, verify_log
from infra.migrate import migrate
from tests.conftest import Databases
from tests.core.orchard import SECRET
from tests.infra.test_cli import COMPLETE
from tests.journeys.kit import Account, eventually

KEY = seal_key(SECRET)
PUBLIC_KEY = KEY.public_key().public_bytes_raw()
SCRIPT = Path(verify_log.__file__)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _fill(url: str) -> None:
    """Three streams that take turns, a hole, and a state that is no text; then a seal over each eight events."""
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(30):
            if number == 13:
                connection.execute("SELECT nextval('ledger_events_notification_id_seq')")
            state = b"\xff\xfe" if number == 4 else f'{{"litres":{number},"who":"Zoë"}}'.encode()
            connection.execute(
                "INSERT INTO ledger_events "
                "(originator_id, originator_version, topic, state, causation_id, traceparent) "
                "VALUES (%s, %s, 'core.TreeWatered', %s, CASE WHEN %s THEN gen_random_uuid() END, %s)",
                (f"tree-{number % 3}", number // 3 + 1, state, number % 2 == 1, TRACE if number % 5 == 2 else None),
            )
        _seal(url)


def _seal(url: str) -> int:
    sealer, made = Sealer(url, KEY, seconds=1), 0
    with psycopg.connect(url, autocommit=True) as connection:
        while sealer.seal(connection) is not None:
            made += 1
    return made


@pytest.fixture
def sealed(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A log of 30 events under four seals; the position of the n-th is n up to 13 and n + 1 from then on."""
    monkeypatch.setattr(seals, "SEALED_TOGETHER_MAX", 8)
    url = databases.copy_of("sealed", _fill)
    yield url
    databases.drop(url)


def _check(url: str, **options: object) -> Checked:
    return check_log(url, PUBLIC_KEY, **options)  # type: ignore[arg-type]


def _do(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _lines(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [encode_line(line).decode() for line in export(connection)]


def test_what_nobody_has_touched_is_as_it_was_sealed(sealed: str) -> None:
    found = _check(sealed)
    assert found.findings == ()
    assert (found.events, found.seals, found.sealed_until, found.unsealed) == (30, 4, 31, 0)


def _swap(column: str, one: int, other: int) -> tuple[str, ...]:
    """Exchange a column of two rows, by way of a value that nobody has."""
    where = "WHERE notification_id"
    if column == "notification_id":
        change = f"UPDATE ledger_events SET {column} ="
        return (
            f"{change} 999 {where} = {one}",
            f"{change} {one} {where} = {other}",
            f"{change} {other} {where} = 999",
        )
    mine, theirs = (f"(SELECT {column} FROM ledger_events {where} = {each})" for each in (one, other))
    return (
        f"CREATE TABLE kept AS SELECT {mine} AS mine, {theirs} AS theirs",
        f"UPDATE ledger_events SET {column} = 999 {where} = {one}",
        f"UPDATE ledger_events SET {column} = (SELECT mine FROM kept) {where} = {other}",
        f"UPDATE ledger_events SET {column} = (SELECT theirs FROM kept) {where} = {one}",
    )


FLIP = "UPDATE ledger_events SET state = set_byte(state, 3, get_byte(state, 3) # 1) WHERE notification_id = {}"
DELETE = "DELETE FROM ledger_events WHERE notification_id {}"
PUT_IN = (
    "INSERT INTO ledger_events (notification_id, originator_id, originator_version, topic, state) "
    "VALUES (14, 'tree-9', 1, 'core.TreePlanted', '{}')"
)
TRACED = "UPDATE ledger_events SET traceparent = {} WHERE notification_id = {}"
TAMPERED: dict[str, tuple[tuple[str, ...], list[Any]]] = {
    "another trace": ((TRACED.format(f"'{TRACE[:-1]}0'", 8),), [("altered", 8)]),
    "a trace where there was none": ((TRACED.format(f"'{TRACE}'", 9),), [("altered", 9)]),
    "a trace that is gone": ((TRACED.format("NULL", 3),), [("altered", 3)]),
    "a flipped byte": ((FLIP.format(7),), [("altered", 7)]),
    "a flipped byte in the first event": ((FLIP.format(1),), [("altered", 1)]),
    "another time": (
        ("UPDATE ledger_events SET recorded_at = recorded_at + interval '1 microsecond' WHERE notification_id = 20",),
        [("altered", 20)],
    ),
    "another actor": (("UPDATE ledger_events SET actor = 'x' WHERE notification_id = 9",), [("altered", 9)]),
    "two in one stream": ((FLIP.format(4), FLIP.format(7)), [("altered", 4), ("altered", 7)]),
    "a deleted row": ((DELETE.format("= 10"),), [("missing", 10)]),
    "a deleted row and its follower": ((DELETE.format("IN (10, 13)"),), [("missing", 10), ("missing", 13)]),
    "two places exchanged": (_swap("notification_id", 18, 20), [("reordered", 18)]),
    "two places exchanged in one stream": (_swap("notification_id", 17, 20), [("reordered", 17)]),
    "two versions exchanged": (_swap("originator_version", 17, 20), [("reordered", 17)]),
    "a truncated tail": ((DELETE.format("> 27"),), [("truncated", 27), ("missing", 28)]),
    "a truncated tail with its seals": (
        (
            "UPDATE checkpoints SET position = 31",
            DELETE.format("> 16"),
            "DELETE FROM log_seals WHERE last > 16",
        ),
        [("truncated", 16)],
    ),
    "a row put into a hole": (
        (PUT_IN,),
        [("inserted", 14)],
    ),
    "a change with its digest": (
        (
            FLIP.format(7),
            "UPDATE log_seals SET digests = overlay(digests PLACING sha256('x') FROM 193) WHERE number = 1",
        ),
        # What was chained to a digest that is gone cannot be told from what was changed.
        [("seal_altered", 1), ("altered", 7), ("altered", 10)],
    ),
    "a seal taken away": (("DELETE FROM log_seals WHERE number = 2",), [("seal_missing", 9)]),
    "a seal of another key": (("UPDATE log_seals SET signature = sha512('x') WHERE number = 3",), ["seal_not_signed"]),
    "a seal with another text": (
        ("UPDATE log_seals SET statement = replace(statement, '\"events\":8', '\"events\":7') WHERE number = 1",),
        ["seal_not_signed", "seal_altered"],
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_every_change_is_found_and_named(sealed: str, name: str) -> None:
    statements, expected = TAMPERED[name]
    if "checkpoints" in statements[0]:
        _do(sealed, "INSERT INTO checkpoints (name, version, live, position) VALUES ('jobs', 1, true, 0)")
    _do(sealed, *statements)
    found = _check(sealed)
    said = [each.kind if isinstance(expected[0], str) else (each.kind, each.position) for each in found.findings]
    assert said == expected, found.findings


def test_a_deleted_event_is_named_by_what_came_after_it(sealed: str) -> None:
    _do(sealed, DELETE.format("= 10"))
    assert [each.message for each in _check(sealed).findings] == ["The event at 10 is missing: version 4 of tree-0."]


def test_a_log_that_was_cut_with_its_seals_differs_from_what_was_noted_elsewhere(sealed: str) -> None:
    with psycopg.connect(sealed) as connection:
        [(text,)] = connection.execute("SELECT statement FROM log_seals WHERE number = 4").fetchall()
    noted = Witness(4, sha256(text.encode()).hexdigest())
    assert _check(sealed, witnesses=[noted]).findings == ()
    _do(sealed, DELETE.format("> 25"), "DELETE FROM log_seals WHERE number = 4")
    assert _check(sealed).findings == ()
    assert [each.kind for each in _check(sealed, witnesses=[noted]).findings] == ["seal_missing"]
    assert [each.kind for each in _check(sealed, witnesses=[Witness(2, "0" * 64)]).findings] == ["seal_altered"]


def test_what_nobody_seals_is_found(sealed: str) -> None:
    insert = "INSERT INTO ledger_events (originator_id, originator_version, topic, state) VALUES ('tree-7', 1, 't', '')"
    _do(sealed, insert)
    assert (found := _check(sealed)).findings == ()
    assert found.unsealed == 1
    later = datetime.now(UTC) + timedelta(minutes=6)
    assert [each.kind for each in _check(sealed, now=lambda: later).findings] == ["not_sealed"]
    assert _seal(sealed) == 1
    assert _check(sealed, now=lambda: later).findings == ()


def test_a_seal_of_the_version_before_covers_no_traces(sealed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "KIND", seals.KIND_WITHOUT_TRACES)
    traced, seal_rows = _INSERT_TRACED, seals.rows

    def rows(*arguments: Any, **options: Any) -> Iterator[seals.Row]:
        return (each.untraced() for each in seal_rows(*arguments, **options))

    _do(sealed, traced.format(11))
    with monkeypatch.context() as before:
        before.setattr(seals, "rows", rows)
        assert _seal(sealed) == 1
    monkeypatch.setattr(seals, "KIND", "ledgerline.seal.v2")
    _do(sealed, traced.format(12))
    assert _seal(sealed) == 1
    assert _check(sealed).findings == ()
    assert verify_log.main(PUBLIC_KEY, _lines(sealed)) == 0
    _do(sealed, TRACED.format("NULL", 32))
    assert _check(sealed).findings == ()
    _do(sealed, TRACED.format("NULL", 33))
    assert [(each.kind, each.position) for each in _check(sealed).findings] == [("altered", 33)]


_INSERT_TRACED = (
    "INSERT INTO ledger_events (originator_id, originator_version, topic, state, traceparent) "
    f"VALUES ('tree-0', {{}}, 't', '{{{{}}}}', '{TRACE}')"
)


def test_an_event_that_is_not_committed_yet_is_waited_for(databases: Databases) -> None:
    url = databases.create()
    migrate(url)
    insert = (
        b"INSERT INTO ledger_events (originator_id, originator_version, topic, state) "
        b"SELECT %s, 1, 't', '' FROM (SELECT pg_advisory_xact_lock_shared(%s)) AS writing"
    )
    with psycopg.connect(url) as slow, psycopg.connect(url, autocommit=True) as other:
        slow.execute(insert, ("tree-slow", WRITING))
        other.execute(insert, ("tree-fast", WRITING))
        sealer = Sealer(url, KEY, seconds=1)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                sealer.seal(connection)
            slow.commit()
            statement = sealer.seal(connection)
    assert statement is not None
    assert (statement.events, statement.after, statement.last) == (2, 0, 2)
    databases.drop(url)


def test_another_sealer_goes_on_where_the_first_one_was(sealed: str) -> None:
    insert = (
        "INSERT INTO ledger_events (originator_id, originator_version, topic, state) "
        "SELECT 'tree-' || n, 11, 't', '' FROM generate_series(0, 2) AS n"
    )
    _do(sealed, insert)
    assert _seal(sealed) == 1  # a new one, which remembers no stream
    assert _check(sealed).findings == ()


# --- by others


def test_the_script_for_others_is_short_and_shares_nothing_with_us() -> None:
    source = SCRIPT.read_text()
    assert len(source.splitlines()) < 150
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {each.split(".")[0] for each in imported} <= {*sys.stdlib_module_names}


def test_the_script_finds_an_untouched_log_right_without_any_of_our_packages(sealed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), PUBLIC_KEY.hex()],
        input="\n".join(_lines(sealed)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("30 events, 4 seals, the last over position 31 (")


@pytest.mark.parametrize(
    "name", [name for name in TAMPERED if name not in {"a change with its digest", "a truncated tail with its seals"}]
)
def test_the_script_finds_what_was_changed(sealed: str, name: str) -> None:
    _do(sealed, *TAMPERED[name][0])
    assert verify_log.main(PUBLIC_KEY, _lines(sealed)) == 1


def test_the_script_refuses_another_key(sealed: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = seal_key(b"another secret of thirty-two bytes").public_key().public_bytes_raw()
    assert verify_log.main(other, _lines(sealed)) == 1
    assert capsys.readouterr().err.count("is not signed by this key") == 4


@pytest.mark.parametrize("count", range(1, 18))
def test_both_make_the_same_tree(count: int) -> None:
    leaves = [bytes([number]) * 32 for number in range(count)]
    assert merkle_root(leaves) == verify_log.root(leaves)


def test_an_export_holds_every_byte(sealed: str) -> None:
    with psycopg.connect(sealed) as connection:
        lines = list(export(connection))
        stored: dict[int, bytes] = dict(
            connection.execute("SELECT notification_id, state FROM ledger_events").fetchall()
        )
    assert {line.position: line.octets for line in lines if isinstance(line, EventLine)} == stored
    assert [read_statement(line.seal).last for line in lines if isinstance(line, SealLine)] == [8, 17, 25, 31]
    with psycopg.connect(sealed) as connection:
        part = list(export(connection, after=8, until=17))
    assert part == [line for line in lines if 8 < _place(line) <= 17]


@pytest.mark.parametrize("together", [7, 20_000])
def test_parquet_files_hold_the_same_and_check_as_well(
    sealed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(parquet, "ROWS_TOGETHER", together)
    with psycopg.connect(sealed) as connection:
        assert parquet.write(connection, tmp_path / "all") == (30, 4)
        assert parquet.write(connection, tmp_path / "part", after=8, until=17) == (8, 1)
        lines = list(export(connection))
    assert list(parquet.read(tmp_path / "all")) == lines
    assert list(parquet.read(tmp_path / "part")) == [line for line in lines if 8 < _place(line) <= 17]
    assert verify_log.main(PUBLIC_KEY, [encode_line(each).decode() for each in parquet.read(tmp_path / "all")]) == 0
    monkeypatch.setattr(parquet, "find_spec", lambda _: None)
    with psycopg.connect(sealed) as connection, pytest.raises(parquet.NoParquet):
        parquet.write(connection, tmp_path / "none")


def _place(line: EventLine | SealLine) -> int:
    return line.position if isinstance(line, EventLine) else read_statement(line.seal).last


# --- the commands


@pytest.fixture
def on_sealed(sealed: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The commands find the sealed log."""
    for name, text in (
        COMPLETE | {"LEDGERLINE_POSTGRES_URL": sealed, "LEDGERLINE_SECRET_KEY": SECRET.decode()}
    ).items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)
    return sealed


def test_the_command_says_what_it_has_found(on_sealed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not cli.main(["verify", "--only", "log"])
    assert "in order (events 30, seals 4, sealed until 31, unsealed 0)" in capsys.readouterr().out
    _do(on_sealed, FLIP.format(7))
    assert cli.main(["verify", "--only", "log"]) == 1
    assert "altered: The event at 7, version 3 of tree-0, is not what was sealed." in capsys.readouterr().out
    assert cli.main(["verify", "--only", "log", "--json"]) == 1
    finding, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert (finding["kind"], finding["position"], finding["part"]) == ("altered", 7, "log")
    assert summary == {"part": "log", "events": 30, "seals": 4, "sealed_until": 31, "unsealed": 0, "found": 1}


def test_whoever_exports_hears_how_far_it_is(sealed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.operators.exporting.PAGE_ROWS", 2)
    told: list[tuple[str, int, int]] = []
    with psycopg.connect(sealed) as connection:
        found = list(export(connection, after=8, until=17, progress=lambda *each: told.append(each)))
        assert not list(export(connection, after=17, until=8, progress=lambda *each: told.append(each)))
    positions = [each.position for each in found if isinstance(each, EventLine)]
    assert told == [("positions", each - 8, 9) for each in (*positions[::2], 17)]


def test_the_commands_of_an_export_and_its_key_go_together(on_sealed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not cli.main(["log", "key"])
    key = capsys.readouterr().out.strip()
    assert not cli.main(["log", "export"])
    assert verify_log.main(bytes.fromhex(key), capsys.readouterr().out.splitlines()) == 0
    assert cli.main(["verify", "--public-key", "abc"]) == 2
    assert cli.main(["verify", "--witness", "abc"]) == 2
    assert not cli.main(["verify", "--only", "log", "--public-key", key])


def test_what_is_written_is_sealed_while_the_service_runs(
    account: Callable[[], Account], ask: Callable[..., list[dict[str, object]]]
) -> None:
    """The role `tick` seals by itself; nothing here does."""
    account()

    def is_sealed() -> bool:
        *findings, summary = ask("verify", "--only", "log")
        assert not findings
        return bool(summary["seals"])

    eventually(is_sealed, 60)
