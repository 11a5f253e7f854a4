"""What was given up is shown, and is tried again when an operator asks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from infra import cli
from tests.infra.test_cli import COMPLETE


@pytest.fixture
def database(core_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """A database that the commands find."""
    for name, text in (COMPLETE | {"LEDGERLINE_POSTGRES_URL": core_url}).items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)
    with psycopg.connect(core_url, autocommit=True) as connection:
        yield connection


def test_nothing_parked_is_said_and_is_a_success(
    database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["parked"]) == 0
    assert capsys.readouterr().out == "Nothing is parked.\n"


def test_what_is_parked_is_shown_and_asked_for_again(
    database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    database.execute(
        "INSERT INTO jobs (reaction, position, stream, due_at, state, attempts, problem) VALUES "
        "('send-letter', 7, 'person-1', now(), 'parked', 4, 'no mail server'), "
        "('analyse-audio', 8, 'analysis-1', now(), 'parked', 4, 'crashed')"
    )
    database.execute(
        "INSERT INTO parked (subscription, version, stream, position, problem) VALUES ('views', 1, 'song-1', 9, 'odd')"
    )
    assert cli.main(["parked", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["kind"], each["name"], each["problem"]) for each in shown] == [
        ("job", "analyse-audio", "crashed"),
        ("job", "send-letter", "no mail server"),
        ("stream", "views", "odd"),
    ]

    assert cli.main(["retry", "--reaction", "send-letter"]) == 0
    assert database.execute("SELECT reaction FROM jobs WHERE state = 'ready'").fetchall() == [("send-letter",)]
    capsys.readouterr()
    assert cli.main(["retry", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"jobs": 1, "streams": 1, "deliveries": 0, "refused": []}
    assert database.execute("SELECT retry FROM parked").fetchall() == [(True,)]
