"""`/admin/*` shows and does what the command line does, for the operator's credential and nobody else."""

from __future__ import annotations

import asyncio
import json
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest
from structlog.testing import capture_logs

from adapters import secrets
from adapters.operators import backup
from adapters.operators.apart import done_apart
from adapters.operators.credentials import OPERATOR_TOKEN, new_token, rotate
from adapters.postgres.settings import Postgres
from api.app import routes
from domain.sections import Sections
from infra import cli, verify_log
from infra.settings import Operation
from infra.supervisor import _make_operator
from tests.conftest import Databases
from tests.core.conftest import _migrate
from tests.core.conftest import eventually as until
from tests.journeys.kit import Account, Stack, eventually
from tests.operators.conftest import Operator

ROOT = Path(__file__).parents[2]
#: Paths below which everything is for operators.
OURS = ("/admin", "/metrics")


def _routes() -> Iterator[tuple[str, str]]:
    for handler in routes():
        for path in handler.paths:
            for method in handler.http_methods:
                if method != "OPTIONS" and path.startswith(OURS):
                    yield str(method), re.sub(r"{(\w+):\w+}", r"{\1}", path)


ROUTES = sorted(_routes())


def test_what_is_for_operators_says_so_on_each_route() -> None:
    for handler in routes():
        assert any(path.startswith(OURS) for path in handler.paths) == ("operator" in handler.opt), handler.paths
    assert len(ROUTES) >= 10


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_else_is_let_in(client: httpx.Client, account: Callable[[], Account], method: str, path: str) -> None:
    at = path.replace("{position}", "1").replace("{name}", "x")
    for key in (None, account().key, new_token(), "bzo_", "x" * 5_000):
        headers = {} if key is None else {"X-API-Key": key}
        answer = client.request(method, at, headers=headers, json={} if method == "POST" else None)
        assert answer.status_code == 401, (path, key)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert set(answer.json()) == {"code", "message", "faults"}
        assert answer.json()["code"] == "not_an_operator"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_for_operators_is_documented(method: str, path: str) -> None:
    assert f"`{method} {path}`" in (ROOT / "docs" / "operators.md").read_text()


def test_an_operators_credential_opens_nothing_of_a_workspace(operator: Operator) -> None:
    headers = {"X-API-Key": operator.token}
    for path in ("/v1/usage", "/functions/v1/projects", "/api/v1/catalogue/overview"):
        assert operator.http.get(path, headers=headers).status_code == 401, path


def test_it_shows_how_everything_is(operator: Operator) -> None:
    found = operator.ask("GET", "/admin/status")
    assert {each["name"] for each in found["stores"]} == {"postgres", "nats", "objects"}
    assert found["head"] >= 0


def test_it_looks_through_the_log(operator: Operator, account: Callable[[], Account]) -> None:
    person = account()
    found = operator.ask("GET", "/admin/log", params={"workspace_id": person.workspace_id})
    assert found
    assert person.email not in json.dumps(found)
    [newest] = operator.ask(
        "GET", "/admin/log", params={"workspace_id": person.workspace_id, "newest": "true", "limit": 1}
    )
    assert newest == found[-1]
    assert operator.ask("GET", f"/admin/log/{newest['position']}") == newest
    tree = operator.ask("GET", f"/admin/explain/{newest['event_id']}")
    assert tree["correlation_id"] == newest["correlation_id"]
    typed = operator.ask("GET", "/admin/log", params={"workspace_id": person.workspace_id, "type": newest["type"]})
    assert newest in typed


def test_what_makes_no_sense_is_refused_in_its_own_words(operator: Operator) -> None:
    for path in (f"/admin/log/{10**17}", f"/admin/log/{10**30}", "/admin/log/0", "/admin/explain/nonsense"):
        assert set(operator.ask("GET", path, 404)) == {"code", "message", "faults"}, path
    assert operator.ask("GET", "/admin/explain/%00", 404)["code"]
    for query in ("limit=0", "limit=x", "after=-1", "position=9", "since=never", "correlation_id=x", "text=%00"):
        answer = operator.ask("GET", f"/admin/log?{query}", 422)
        assert answer["message"], query
    assert operator.ask("GET", "/admin/nothing", 404)["code"] == "not_found"
    assert operator.ask("POST", "/admin/replay/nothing", 404)["code"] == "no_such_read_model"
    assert operator.ask("DELETE", "/admin/replay/nothing", 404)["code"] == "no_such_read_model"
    assert operator.ask("DELETE", "/admin/replay/tracks", 200) == {"name": "tracks", "cancelled": 0}
    assert operator.ask("POST", "/admin/parked/skip", 422, json={})["code"] == "nothing_named"
    assert operator.ask("GET", "/admin/parked?kind=x", 422)["message"].endswith("Choose from job, stream, delivery.")
    for body in ({"name": "x" * 501}, {"name": "\0"}, {"position": -1}, {"colour": "red"}, {"kind": "x"}):
        assert operator.ask("POST", "/admin/parked/retry", 422, json=body)["faults"], body
    assert operator.ask("POST", "/admin/credential/rotate", 422, json={"grace_hours": 1e9})["faults"]


def test_what_was_given_up_is_shown_retried_and_skipped(operator: Operator, stack: Stack) -> None:
    name = f"nobody-{uuid4()}"
    with psycopg.connect(stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO jobs (reaction, position, stream, due_at, state, problem, workspace_id, code_version) "
            "SELECT %s, n, 's', now(), 'parked', 'Odd: ' || n, 'w' || n %% 2, '0.' || n "
            "FROM generate_series(1, 4) AS n",
            (name,),
        )
        shown = operator.ask("GET", "/admin/parked", params={"name": name})
        assert [each["position"] for each in shown] == [1, 2, 3, 4]
        assert shown[0] == {
            "kind": "job", "name": name, "about": None, "stream": "s", "position": 1, "workspace_id": "w1",
            "attempts": 0, "problem": "Odd: 1", "code_version": "0.1", "parked_at": None,
        }  # fmt: skip
        for query, expected in (
            ({"workspace_id": "w0"}, [2, 4]),
            ({"problem": "odd: 3"}, [3]),
            ({"code_version": "0.4"}, [4]),
        ):
            some = operator.ask("GET", "/admin/parked", params={"name": name, **query})
            assert [each["position"] for each in some] == expected, query
        assert operator.ask("POST", "/admin/parked/skip", json={"name": name, "position": 1}) == {
            "jobs": 1,
            "streams": 0,
            "deliveries": 0,
            "refused": [],
        }
        assert operator.ask("POST", "/admin/parked/retry", json={"name": name, "workspace_id": "w0"})["jobs"] == 2
        left = connection.execute("SELECT position, state FROM jobs WHERE reaction = %s ORDER BY 1", (name,)).fetchall()
        assert left == [(2, "ready"), (3, "parked"), (4, "ready")]
        connection.execute("DELETE FROM jobs WHERE reaction = %s", (name,))


def test_a_read_model_is_folded_again(operator: Operator) -> None:
    asked = operator.ask("POST", "/admin/replay/api_keys", 202)

    def is_live() -> bool:
        followers = {each["name"]: each["kind"] for each in operator.ask("GET", "/admin/status")["followers"]}
        return followers["api_keys"] == "read model" and f"api_keys v{asked['version']}" not in followers

    eventually(is_live)


def test_the_seals_are_shown_with_their_key(operator: Operator, account: Callable[[], Account]) -> None:
    account()
    found = eventually(lambda: (seen := operator.ask("GET", "/admin/seals"))["seals"] and seen, 60)
    newest = found["seals"][0]
    key, signature = bytes.fromhex(found["public_key"]), bytes.fromhex(newest["signature"])
    assert verify_log.is_signed(key, newest["seal"].encode(), signature)


def test_a_credential_is_rotated_at_once_or_after_a_while(operator: Operator) -> None:
    before = operator.token
    operator.token = operator.ask("POST", "/admin/credential/rotate", json={"grace_hours": 1})["token"]
    Operator(operator.http, before).ask("GET", "/admin/seals")
    operator.token = operator.ask("POST", "/admin/credential/rotate", json={})["token"]
    Operator(operator.http, before).ask("GET", "/admin/seals", 401)
    operator.ask("GET", "/admin/seals")


async def test_of_two_rotations_at_once_the_later_one_counts_and_only_it(databases: Databases) -> None:
    url = databases.copy_of("core", _migrate)
    first, second, asked_with = new_token(), new_token(), new_token()
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as here,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as there,
    ):
        assert await rotate(here, asked_with)
        async with here.transaction():
            await rotate(here, first)
            behind = asyncio.ensure_future(rotate(there, second))
            with_what_is_over = asyncio.ensure_future(_rotated_over_there(url, asked_with))
            await until(lambda: _how_many_wait(url) == 2)
        assert await behind
        assert not await with_what_is_over, "who asked with the one before was given another"
        found = await here.execute("SELECT digest FROM operator_credentials")
        assert await found.fetchall() == [(secrets.digest(second),)]
    databases.drop(url)


async def _rotated_over_there(url: str, asked_with: str) -> bool:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await rotate(connection, new_token(), asked_with=asked_with)


def _how_many_wait(url: str) -> int:
    asked = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(url) as connection:
        [(number,)] = connection.execute(asked).fetchall()
    return int(number)


# --- where it is kept ---


def test_the_credential_is_made_once_in_a_file_that_only_its_owner_reads(
    databases: Databases,
    on_stack: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = databases.copy_of("core", _migrate)
    settings = on_stack.settings.changed(data_dir=tmp_path, postgres_url=url)
    _make_operator(settings)
    path = settings[Operation].data_dir / OPERATOR_TOKEN
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    _make_operator(settings)
    assert path.read_text() == first
    # Whoever has lost the file is not given another credential by a restart, but by rotating it.
    path.unlink()
    _make_operator(settings)
    assert not path.exists()
    for name, text in settings.environment().items():
        monkeypatch.setenv(name, text)
    assert not cli.main(["operator", "rotate"])
    shown = capsys.readouterr().out.strip()
    assert shown.startswith("bzo_")
    path.write_text(shown)
    assert not cli.main(["operator", "rotate", "--json"])
    assert json.loads(capsys.readouterr().out) == {"path": str(path)}
    with psycopg.connect(url) as connection:
        kept = connection.execute("SELECT digest FROM operator_credentials").fetchall()
        now = connection.execute("SELECT encode(sha256(%s), 'hex')", (path.read_text().strip().encode(),)).fetchall()
    assert kept == now
    # Where it cannot be written, nobody is locked out.
    before = path.read_text()
    path.with_name(f"{path.name}.new").mkdir()
    assert cli.main(["operator", "rotate"]) == 1
    assert capsys.readouterr().err == f"ledgerline: {path}: Is a directory. The credential is the one before.\n"
    assert path.read_text() == before
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT digest FROM operator_credentials").fetchall() == kept
    databases.drop(url)


def test_what_is_kept_is_verified_apart_line_by_line_one_at_a_time(operator: Operator) -> None:
    headers = {"Authorization": f"Bearer {operator.token}"}

    def others_wait() -> None:
        busy = operator.http.post("/admin/verify", json={}, headers=headers)
        assert busy.status_code == 409, busy.text

    told = operator.lines("/admin/verify", meanwhile=others_wait, parts=["log", "objects"])
    assert [each["part"] for each in told if "found" in each] == ["log", "objects"]
    assert "problem" not in told[-1]
    assert operator.http.post("/admin/verify", json={"parts": ["all"]}, headers=headers).status_code == 422
    assert operator.http.post("/admin/verify", json={}).status_code == 401
    # Whoever hangs up lets others ask.
    with operator.http.stream("POST", "/admin/verify", json={}, headers=headers, timeout=120) as answer:
        assert answer.status_code == 200
    eventually(lambda: operator.lines("/admin/verify", meanwhile=others_wait, parts=["log"]), 60)


def test_read_models_are_compared_and_mended_apart(
    operator: Operator, stack: Stack, account: Callable[[], Account]
) -> None:
    headers = {"Authorization": f"Bearer {operator.token}"}
    lines = operator.lines
    account()
    with psycopg.connect(stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE documents SET workspace_id = 'elsewhere' WHERE projection = 'workspaces'")
    *found, told = lines("/admin/replay/workspaces/dry-run")
    assert {each["subject"] for each in found} == {"workspaces"}
    assert (told["would_differ"], told["read_models"]) == (["workspaces"], 1)
    assert not lines("/admin/replay/workspaces/dry-run", after=2**62)[-1]["would_differ"]

    assert {"mended": "read_models", "subject": "workspaces"} in lines("/admin/repair", parts=["read-models"])
    assert not lines("/admin/replay/workspaces/dry-run")[-1]["would_differ"]
    assert lines("/admin/repair", parts=["read-models"])[-1] == {"mended": None}

    for path, body, status in (
        ("/admin/repair", {"parts": ["log"]}, 422),
        ("/admin/replay/workspaces/dry-run", {"after": -1}, 422),
        ("/admin/replay/nobody/dry-run", {}, 404),
        ("/admin/replay/--help/dry-run", {}, 404),
    ):
        assert operator.http.post(path, json=body, headers=headers).status_code == status, path


async def test_a_mistake_of_ours_is_told_though_a_traceback_ends_like_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Here:
        def environment(self) -> dict[str, str]:
            return {}

    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'Traceback (most recent call last):\nKeyError: 5' >&2\nexit 1\n")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    with capture_logs() as logs:
        told = [json.loads(line) async for line in done_apart(cast("Sections", Here()), "verify")]

    assert told == [{"problem": "It came to no end: exit status 1; see the log."}]
    assert [each["exception"] for each in logs if each["event"] == "apart.broken"] == [
        "Traceback (most recent call last):\nKeyError: 5"
    ]


def test_a_program_asks_for_a_backup_and_what_is_new_since(operator: Operator, stack: Stack, tmp_path: Path) -> None:
    headers, passphrase = {"Authorization": f"Bearer {operator.token}"}, "correct horse battery"
    refused = operator.ask("POST", "/admin/backup", 409, json={"passphrase": passphrase})
    assert refused["code"] == "no_backup_directory"

    def others_wait() -> None:
        busy = programs.http.post("/admin/backup", json={"passphrase": passphrase}, headers=headers)
        assert (busy.status_code, busy.json()["code"]) == (409, "one_at_a_time")
        # Whoever may list the processes of a machine reads no passphrase there.
        assert not [each for each in psutil.process_iter() if passphrase in " ".join(_words(each))]

    place = tmp_path / "backups"
    with stack.door(backup_dir=str(place)) as url, httpx.Client(base_url=url, timeout=120) as http:
        programs = Operator(http, operator.token)
        [first] = programs.lines("/admin/backup", meanwhile=others_wait, passphrase=passphrase)
        assert first.keys() == {"events", "after", "until", "objects", "path"}
        assert (first["after"], first["events"] > 0) == (0, True)
        [second] = programs.lines("/admin/backup", passphrase=passphrase)
        assert second["after"] == first["until"]
        [(_, _), (newest, told)] = backup.check(place)
        assert (str(newest), told.until) == (second["path"], second["until"])
        assert backup.open_keys((newest / "keys.sealed").read_bytes(), passphrase).secret_key

        [wrong] = programs.lines("/admin/backup", passphrase="another one, and longer")
        assert wrong == {"problem": "The passphrase is not the one that this backup was made with."}
        for body in ({}, {"passphrase": "short"}, {"passphrase": "a line\nand one more"}, {"passphrase": 7}):
            assert programs.http.post("/admin/backup", json=body, headers=headers).status_code == 422, body
        assert programs.http.post("/admin/backup", json={"passphrase": passphrase}).status_code == 401
        with programs.http.stream("POST", "/admin/backup", json={"passphrase": passphrase}, headers=headers) as answer:
            assert answer.status_code == 200
        # Whoever hangs up lets others ask.
        [third] = eventually(lambda: programs.lines("/admin/backup", passphrase=passphrase), 60)
        assert third["after"] >= second["until"]
    assert not list(place.rglob(".part-*"))


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []
