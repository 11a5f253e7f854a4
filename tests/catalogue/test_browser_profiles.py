"""Browser profiles: as the document shows them, sealed, bounded, audited, forgotten."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.exceptions import InvalidTag
from psycopg_pool import AsyncConnectionPool

from adapters.catalogue.cookies import SealedCookies
from adapters.catalogue.settings import Cookies
from adapters.postgres.settings import Postgres
from commands.catalogue.browser_profiles import ImportBrowserProfile, RemoveBrowserProfile, UseBrowserProfile
from commands.catalogue.ports import CookieJars
from commands.kernel import REACTIONS
from domain.catalogue.browser_profiles import (
    BrowserProfileImported,
    BrowserProfileRemoved,
    BrowserProfileUsed,
    EncryptionNotConfigured,
    NoSuchBrowserProfile,
)
from domain.discovery import modules
from domain.sections import Secret, Url
from infra.migrate import migrate
from tests.catalogue.test_contract import refused
from tests.catalogue.test_releases import ISRC
from tests.catalogue.test_uploads import ready_release
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack, eventually, typed
from tests.scene import Scene
from tests.spec import CONTEXT, NOW, given

modules("commands")

COOKIE = {
    "domain": ".spotify.com",
    "name": "sp_dc",
    "value": "a-secret-value",
    "path": "/",
    "secure": True,
    "httpOnly": True,
}
PROFILE = {"name": "DistroKid primary session", "cookies": [COOKIE]}
IMPORT = "/api/v1/browser-profiles/import"
ACCOUNTS = "/api/v1/distribution-accounts"


def a_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[str]:
    """A service whose encryption is configured."""
    with stack.door(browser_profile_keys=Secret(f"k1:{a_key()}")) as url:
        yield url


@pytest.fixture(scope="module")
def sealed(door: str) -> Iterator[Visitor]:
    with httpx.Client(base_url=door, timeout=30) as http:
        yield sign_in(http)


def test_a_profile_is_kept_and_answered_as_documented(sealed: Visitor) -> None:
    answer = sealed.post(IMPORT, PROFILE)

    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert list(body) == ["success", "message", "profile_id", "name"]
    assert body["success"] is True
    assert body["message"] == "Browser profile and securely encrypted session cookies successfully imported."
    assert isinstance(body["profile_id"], int)
    assert body["name"] == "DistroKid primary session"
    assert answer.headers["x-ratelimit-limit"].isdigit()


def test_without_a_key_nothing_is_taken(client: httpx.Client) -> None:
    answer = sign_in(client).post(IMPORT, PROFILE)

    refused(answer, 503, "encryption_not_configured")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "", "cookies": [COOKIE]},
        {"name": "x" * 121, "cookies": [COOKIE]},
        {"name": "x", "cookies": []},
        {"name": "x", "cookies": [COOKIE] * 501},
        {"name": "x", "cookies": ["text"]},
        {"name": "x", "cookies": [{"domain": "a", "name": "b"}]},
        {"name": "x", "cookies": [COOKIE | {"value": 5}]},
        {"name": "x", "cookies": [COOKIE | {"domain": ""}]},
        {"name": "x", "cookies": [COOKIE | {"name": "é" * 129}]},
        {"name": "x", "cookies": [COOKIE | {"value": "x" * 8193}]},
    ],
)
def test_counts_and_sizes_are_bounded(sealed: Visitor, body: Any) -> None:
    refused(sealed.post(IMPORT, body), 400)


def test_as_many_and_as_large_as_may_be(sealed: Visitor) -> None:
    assert sealed.post(IMPORT, {"name": "x" * 120, "cookies": [COOKIE] * 500}).status_code == 201
    assert sealed.post(IMPORT, {"name": "x", "cookies": [COOKIE | {"value": "x" * 8192}]}).status_code == 201


def test_cookies_are_in_no_answer_no_audit_no_log_and_no_row(sealed: Visitor, stack: Stack) -> None:
    profile_id = sealed.post(IMPORT, PROFILE).json()["profile_id"]

    [newest, *_] = sealed.get("/api/v1/browser-profiles").json()["data"]
    assert (newest["profile_id"], newest["cookie_count"]) == (profile_id, 1)
    said = sealed.get("/api/v1/browser-profiles").text + sealed.get("/v1/audit-events").text + stack.log
    assert "a-secret-value" not in said
    assert "browser_profile.imported" in said
    with psycopg.connect(stack.settings[Postgres].postgres_url) as database:
        rows = database.execute("SELECT sealed FROM browser_profiles").fetchall()
        events = database.execute("SELECT state FROM ledger_events").fetchall()
    assert rows
    assert not any(b"a-secret-value" in bytes(row[0]) for row in (*rows, *events))


def test_a_profile_is_removed_with_its_cookies(sealed: Visitor, stack: Stack) -> None:
    profile_id = sealed.post(IMPORT, PROFILE).json()["profile_id"]
    stranger = sign_in(sealed.http)

    refused(stranger.delete(f"/api/v1/browser-profiles/{profile_id}"), 404, "no_such_browser_profile")
    assert sealed.delete(f"/api/v1/browser-profiles/{profile_id}").json() == {"success": True}
    refused(sealed.delete(f"/api/v1/browser-profiles/{profile_id}"), 404, "no_such_browser_profile")
    with psycopg.connect(stack.settings[Postgres].postgres_url) as database:
        assert not database.execute("SELECT FROM browser_profiles WHERE profile_id = %s", (profile_id,)).fetchall()


def test_a_profile_signs_in_to_an_account_and_to_the_uploads_under_it(sealed: Visitor, stack: Stack) -> None:
    profile_id = sealed.post(IMPORT, PROFILE).json()["profile_id"]
    account_id = sealed.post(ACCOUNTS, {"service": "distrokid", "name": "Ours"}).json()["data"]["account_id"]
    where = f"{ACCOUNTS}/{account_id}"
    stranger = sign_in(sealed.http)
    theirs = stranger.post(IMPORT, PROFILE).json()["profile_id"]
    refused(sealed.request("PUT", f"{where}/profile", json={"profile_id": theirs}), 404, "no_such_browser_profile")
    wish = {"profile_id": theirs}
    refused(stranger.request("PUT", f"{where}/profile", json=wish), 404, "no_such_account")

    answers = [sealed.request("PUT", f"{where}/profile", json={"profile_id": profile_id}), sealed.get(where)]
    assert [each.json()["data"]["profile_id"] for each in answers] == [profile_id] * 2
    track = {"isrc": ISRC, "title": "Song Name", "artist": "Artist Name", "duration_ms": 187_000}
    assert sealed.post("/api/v1/tracks", track).status_code == 201
    wish = {"release_id": ready_release(sealed), "account_id": account_id}
    answers.append(sealed.post("/api/v1/upload-sessions", wish))
    assert answers[-1].status_code == 201, answers[-1].text
    assert answers[-1].json()["data"]["profile_id"] == profile_id
    assert not any("a-secret-value" in each.text for each in answers)

    # A profile that is removed signs in nowhere, and the session says still with which it was begun.
    assert sealed.delete(f"/api/v1/browser-profiles/{profile_id}").status_code == 200
    assert eventually(lambda: sealed.get(where).json()["data"]["profile_id"] is None)
    session = f"/api/v1/upload-sessions/{answers[-1].json()['data']['session_id']}"
    assert sealed.get(session).json()["data"]["profile_id"] == profile_id
    assert "a-secret-value" not in stack.log


def test_profiles_are_forgotten_with_their_workspace(sealed: Visitor, stack: Stack) -> None:
    leaving = sign_in(sealed.http)
    assert leaving.post(IMPORT, PROFILE).status_code == 201
    leaving.delete("/v1/account/profile")

    def gone() -> bool:
        with psycopg.connect(stack.settings[Postgres].postgres_url) as database:
            row = database.execute(
                "SELECT (SELECT count(*) FROM browser_profiles WHERE workspace_id = %(w)s) + "
                "(SELECT count(*) FROM browser_profile_keys WHERE workspace_id = %(w)s)",
                {"w": leaving.workspace_id},
            ).fetchone()
            return row == (0,)

    assert eventually(gone)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_master_key_rotates_and_no_row_stands_for_another(module_database_url: str) -> None:
    old, new = os.urandom(32), os.urandom(32)

    async def story() -> None:
        async with AsyncConnectionPool(module_database_url, open=False, kwargs={"autocommit": True}) as pool:
            before = SealedCookies(pool, {"old": old})
            mine, other = await before.keep("w1", b"mine"), await before.keep("w2", b"other")
            assert await before.open("w1", mine) == b"mine"
            with pytest.raises(NoSuchBrowserProfile):
                await before.open("w2", mine)

            assert await SealedCookies(pool, {"new": new, "old": old}).rewrap() == 2
            after = SealedCookies(pool, {"new": new})
            assert await after.open("w1", mine) == b"mine"
            assert await after.open("w2", other) == b"other"
            with pytest.raises(EncryptionNotConfigured):
                await before.open("w1", mine)

            async with pool.connection() as connection:
                # The same workspace's other profile, put in the place of this one.
                second = await after.keep("w1", b"second")
                await connection.execute(
                    "UPDATE browser_profiles SET sealed = (SELECT sealed FROM browser_profiles WHERE profile_id = %s) "
                    "WHERE profile_id = %s",
                    (second, mine),
                )
            with pytest.raises(EncryptionNotConfigured) as found:
                await after.open("w1", mine)
            assert isinstance(found.value.__cause__, InvalidTag)

    migrate(module_database_url)
    asyncio.run(story())


@pytest.mark.parametrize(
    "text",
    ["k1", "k1:short", f"k1:{a_key()},k1:{a_key()}", f"k 1:{a_key()}"],
    ids=["none", "short", "twice", "name"],
)
def test_keys_that_are_none_stop_the_start(text: str) -> None:
    assert list(Cookies(browser_profile_keys=Secret(text)).problems())


# --- rules ------------------------------------------------------------------------------------------------------------

imported = BrowserProfileImported(profile_id=1001, workspace_id="w1", name="A", cookie_count=1, imported_at=NOW)


class Jars:
    """Says whose cookies were forgotten."""

    def __init__(self) -> None:
        self.forgotten: list[tuple[str, int | None]] = []

    async def forget(self, workspace_id: str, profile_id: int | None = None) -> None:
        self.forgotten.append((workspace_id, profile_id))


async def test_a_process_that_dies_once_a_removal_is_written_down_leaves_no_cookies() -> None:
    jars = Jars()
    scene = Scene(now=NOW, context=CONTEXT, more={CookieJars: jars})
    await scene.when(ImportBrowserProfile(profile_id=1001, workspace_id="w1", name="A session", cookie_count=2))
    await scene.when(RemoveBrowserProfile(profile_id=1001, workspace_id="w1"))

    removed = scene.log.all[-1]
    for reaction in REACTIONS.values():
        if reaction.concerns(removed.event):
            await scene.follows(reaction, removed)
    assert ("w1", 1001) in jars.forgotten


use = UseBrowserProfile(profile_id=1001, workspace_id="w1", use_id="use-1", purpose="upload")
used = BrowserProfileUsed(profile_id=1001, use_id="use-1", purpose="upload", used_at=NOW)


def test_every_use_is_written_down_once() -> None:
    given(imported).when(use).then(used)
    given(imported, used).when(use).then()


def test_only_its_own_workspace_uses_what_was_not_removed() -> None:
    theirs = UseBrowserProfile(profile_id=1001, workspace_id="w2", use_id="use-1", purpose="upload")
    given(imported).when(theirs).refused(NoSuchBrowserProfile)
    given(imported, BrowserProfileRemoved(profile_id=1001, removed_at=NOW)).when(use).refused(NoSuchBrowserProfile)


def test_the_command_wraps_every_key_anew_so_that_the_old_master_key_can_go(database_url: str, stack: Stack) -> None:
    url = database_url
    migrate(url)
    old, new = base64.b64decode(a_key()), base64.b64decode(a_key())

    async def kept(cookies: dict[str, bytes], profile_id: int | None = None) -> Any:
        async with AsyncConnectionPool(url, open=False, kwargs={"autocommit": True}) as pool:
            sealed = SealedCookies(pool, cookies)
            return await (sealed.keep("w1", b"mine") if profile_id is None else sealed.open("w1", profile_id))

    def run(**keys: bytes) -> subprocess.CompletedProcess[str]:
        listed = ",".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in keys.items())
        settings = stack.settings.changed(postgres_url=Url(url), browser_profile_keys=Secret(listed))
        return typed("rewrap-profiles", settings=settings)

    profile_id = asyncio.run(kept({"old": old}))
    told = run(new=new, old=old)
    assert (told.returncode, told.stdout) == (0, "Wrapped anew: 1.\n"), told.stderr
    assert asyncio.run(kept({"new": new}, profile_id)) == b"mine"
    assert run(new=new).stdout == "Wrapped anew: 0.\n"
    # Without the key that they are wrapped with, nothing is done, and it is said so.
    lost = run(other=old)
    assert lost.returncode != 0
    assert "Traceback" not in lost.stderr
    assert "LEDGERLINE_BROWSER_PROFILE_KEYS" in lost.stderr
    assert asyncio.run(kept({"new": new}, profile_id)) == b"mine"


def test_whoever_runs_the_machine_is_given_the_cookies_once_the_audit_says_so(stack: Stack, tmp_path: Path) -> None:
    keys = Secret(f"k1:{a_key()}")

    def use(profile: int, workspace: str, *more: str, keys: Secret = keys) -> subprocess.CompletedProcess[str]:
        settings = stack.settings.changed(browser_profile_keys=keys)
        return typed("use-profile", str(profile), "--workspace", workspace, *more, settings=settings)

    with stack.door(browser_profile_keys=keys) as url, httpx.Client(base_url=url, timeout=30) as http:
        ada, other = sign_in(http), sign_in(http)
        profile = ada.post(IMPORT, PROFILE).json()["profile_id"]
        told = use(profile, ada.workspace_id, "--for", "upload of a release")
        assert (told.returncode, json.loads(told.stdout or "null")) == (0, PROFILE["cookies"]), told.stderr
        file = tmp_path / "cookies.json"
        assert use(profile, ada.workspace_id, "--for", "again", "--out", str(file)).returncode == 0
        assert json.loads(file.read_text()) == PROFILE["cookies"]
        assert file.stat().st_mode & 0o777 == 0o600
        refused = {
            "another's": use(profile, other.workspace_id, "--for", "theft"),
            "a file that is there": use(profile, ada.workspace_id, "--for", "twice", "--out", str(file)),
            "no purpose": use(profile, ada.workspace_id, "--for", ""),
            "another key": use(profile, ada.workspace_id, "--for", "x", keys=Secret(f"k2:{a_key()}")),
            "no key": use(profile, ada.workspace_id, "--for", "x", keys=Secret("")),
        }
        for what, ended in refused.items():
            assert ended.returncode != 0, what
            assert "Traceback" not in ended.stderr, what
            assert "sp_dc" not in ended.stdout + ended.stderr, what
        used = ada.get("/v1/audit-events?action=browser_profile.used").json()
        assert [each["metadata"]["purpose"] for each in used][::-1][:2] == ["upload of a release", "again"]
        assert {each["actor"] for each in used} == {"operator"}
        assert other.get("/v1/audit-events?action=browser_profile.used").json() == []
