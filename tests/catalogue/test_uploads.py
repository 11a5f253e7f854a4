"""Accounts at distributors and the sessions in which releases are handed in there, told by whoever does it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from msgspec.structs import replace

from api.catalogue.ports import Ports
from commands.catalogue.accounts import AddAccount, AssignProfile, RemoveAccount, RenameAccount
from commands.catalogue.browser_profiles import RemoveBrowserProfile
from commands.catalogue.uploads import CompleteUpload, ExpireUpload, ReportStep, StartUpload
from commands.kernel import Command
from domain.catalogue.accounts import (
    ACCOUNTS_MAX,
    AccountIsInUse,
    DistributionAccountAdded,
    DistributionProfileAssigned,
    NoSuchAccount,
    UploadReleased,
    UploadReserved,
    accounts,
)
from domain.catalogue.browser_profiles import (
    BrowserProfileAssigned,
    BrowserProfileImported,
    BrowserProfileRemoved,
    NoSuchBrowserProfile,
)
from domain.catalogue.releases import ReleaseDetails, ReleaseDrafted
from domain.catalogue.uploads import (
    REPORTS_MAX,
    BadSteps,
    NoSuchStep,
    NoSuchUploadSession,
    StepsAreLeft,
    TooManyReports,
    UploadIsOver,
    UploadIsUnderWay,
    UploadSessionExpired,
    UploadSessionStarted,
    UploadStepReported,
)
from domain.ledger import Context
from infra.container import container
from tests.catalogue.examples import DAY, profile, step, upload
from tests.catalogue.examples import account as adding
from tests.catalogue.test_contract import refused
from tests.catalogue.test_releases import ISRC, NEW, png, put, wav
from tests.identity.crowd import Visitor, join, sign_in
from tests.identity.ledger import Ledger
from tests.journeys.kit import Stack, eventually
from tests.spec import NOW, given

added = DistributionAccountAdded(
    account_id="account-1", workspace_id="w1", service="distrokid", name="Ours", added_at=NOW
)
kept = BrowserProfileImported(profile_id=1001, workspace_id="w1", name="A session", cookie_count=2, imported_at=NOW)
told = BrowserProfileAssigned(profile_id=1001, account_id="account-1", assigned_at=NOW)
given_to = DistributionProfileAssigned(account_id="account-1", profile_id=1001, assigned_at=NOW)
drafted = ReleaseDrafted(
    release_id="release-1", workspace_id="w1", details=ReleaseDetails(title="Name", artist="A"), drafted_at=NOW
)
reserved = UploadReserved(account_id="account-1", release_id="release-1", session_id="session-1", reserved_at=NOW)
started = UploadSessionStarted(
    session_id="session-1", workspace_id="w1", release_id="release-1", release_version=1, account_id="account-1",
    profile_id=None, steps=("sign_in", "submit"), started_at=NOW, expires_at=NOW + DAY,
)  # fmt: skip
released = UploadReleased(account_id="account-1", release_id="release-1", session_id="session-1", released_at=NOW)
assign = AssignProfile(account_id="account-1", workspace_id="w1", profile_id=1001)


def reported(name: str, status: Any = "done") -> UploadStepReported:
    return UploadStepReported(
        session_id="session-1", workspace_id="w1", step=name, status=status, note="", reported_at=NOW,
        expires_at=NOW + DAY,
    )  # fmt: skip


# --- rules ------------------------------------------------------------------------------------------------------------


def test_account_and_profile_both_remember_that_they_belong_together() -> None:
    given(added, kept).when(assign).then(told, given_to)
    given(added, kept, told, given_to).when(assign).then()


def test_a_profile_that_is_removed_signs_in_nowhere() -> None:
    gone = BrowserProfileRemoved(profile_id=1001, removed_at=NOW)
    nobody = replace(given_to, profile_id=None)
    wish = RemoveBrowserProfile(profile_id=1001, workspace_id="w1")
    given(added, kept, told, given_to).when(wish).then(gone, nobody)
    given(added, kept, told, given_to, gone, nobody).when(assign).refused(NoSuchBrowserProfile)


async def test_a_profile_that_is_removed_while_it_is_assigned_once_more_signs_in_nowhere() -> None:
    ledger = Ledger()
    await ledger.ask(adding, profile, assign, replace(assign, profile_id=None))
    ledger.meddle = RemoveBrowserProfile(profile_id=1001, workspace_id="w1")
    with pytest.raises(NoSuchBrowserProfile):
        await ledger.ask(assign)
    assert (await ledger.state(accounts, "account-1")).profile_id is None


def test_only_ones_own_profile_signs_in_to_ones_own_account() -> None:
    given(added, replace(kept, workspace_id="w2")).when(assign).refused(NoSuchBrowserProfile)
    given(replace(added, workspace_id="w2"), kept).when(assign).refused(NoSuchAccount)
    given(added).when(RenameAccount(account_id="account-1", workspace_id="w2", name="Mine")).refused(NoSuchAccount)


def test_a_release_is_handed_in_under_an_account_by_one_session_at_a_time() -> None:
    given(drafted, added).when(upload).then(reserved, started)
    given(drafted, added, reserved, started).when(upload).then()
    another = replace(upload, session_id="session-2")
    given(drafted, added, reserved, started).when(another).refused(UploadIsUnderWay, session_id="session-1")
    given(drafted, added, reserved).when(RemoveAccount(account_id="account-1", workspace_id="w1")).refused(
        AccountIsInUse
    )


@pytest.mark.parametrize("steps", [(), ("a", "a"), ("A",), ("a b",), ("x" * 65,), tuple(f"s{n}" for n in range(51))])
def test_steps_have_names_that_are_names(steps: tuple[str, ...]) -> None:
    given(drafted, added).when(replace(upload, steps=steps)).refused(BadSteps)


def test_a_step_that_has_failed_may_be_tried_again_and_the_same_report_is_none() -> None:
    open_one = (drafted, added, reserved, started)
    given(*open_one, reported("sign_in", "failed")).when(step("sign_in")).then(reported("sign_in"))
    given(*open_one, reported("sign_in")).when(step("sign_in")).then()
    given(*open_one).when(step("dance")).refused(NoSuchStep, step="dance", steps="sign_in, submit")
    given(*open_one).when(replace(step("sign_in"), workspace_id="w2")).refused(NoSuchUploadSession)


def test_a_robot_that_goes_round_in_circles_ends() -> None:
    round_and_round = [reported("sign_in", ("running", "failed")[n % 2]) for n in range(REPORTS_MAX)]
    given(drafted, added, reserved, started, *round_and_round).when(step("sign_in")).refused(TooManyReports)


def test_a_session_is_complete_when_its_steps_are_done() -> None:
    wish = CompleteUpload(session_id="session-1", workspace_id="w1", reference="7")
    open_one = (drafted, added, reserved, started, reported("sign_in"))
    given(*open_one).when(wish).refused(StepsAreLeft, steps="submit")
    given(*open_one, reported("submit", "failed")).when(wish).refused(StepsAreLeft, steps="submit")


def test_whoever_says_the_same_again_and_again_is_not_silent() -> None:
    """A report that says nothing new is no news, but a sign of life: without it whoever waits for a step was over."""
    running = (drafted, added, reserved, started, reported("sign_in", "running"))
    again, hour = step("sign_in", "running"), timedelta(hours=1)
    given(*running).when(again, now=NOW + 5 * hour).then()
    given(*running).when(again, now=NOW + 6 * hour).then(
        replace(reported("sign_in", "running"), reported_at=NOW + 6 * hour, expires_at=NOW + 6 * hour + DAY)
    )
    over = UploadSessionExpired(session_id="session-1", workspace_id="w1", expired_at=NOW)
    given(*running, over, released).when(again, now=NOW + 6 * hour).then()


def test_only_what_was_silent_for_so_long_is_over() -> None:
    wish = ExpireUpload(session_id="session-1")
    late = replace(started, expires_at=NOW - timedelta(seconds=1))
    over = UploadSessionExpired(session_id="session-1", workspace_id="w1", expired_at=NOW)
    given(drafted, added, reserved, started).when(wish).then()
    given(drafted, added, reserved, late).when(wish).then(over, released)
    given(drafted, added, reserved, late, reported("sign_in")).when(wish).then()
    given(drafted, added, reserved, late, over, released).when(step("sign_in")).refused(UploadIsOver)
    given(drafted, added, reserved, late, over, released).when(StartUpload(
        session_id="session-2", workspace_id="w1", release_id="release-1", account_id="account-1",
        steps=("sign_in", "submit"), timeout=DAY,
    )).then(
        replace(reserved, session_id="session-2"), replace(started, session_id="session-2")
    )  # fmt: skip


# --- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def label(client: httpx.Client) -> Visitor:
    """A label with a release that is ready."""
    who = sign_in(client)
    track = {"isrc": ISRC, "title": "Song Name", "artist": "Artist Name", "duration_ms": 187_000}
    assert who.post("/api/v1/tracks", track).status_code == 201
    return who


def ready_release(who: Visitor) -> str:
    made = who.post("/api/v1/releases", NEW)
    assert made.status_code == 201, made.text
    release_id = str(made.json()["data"]["release_id"])
    where = f"/api/v1/releases/{release_id}"
    assert put(who, f"{where}/artwork", png(3000, 3000)).status_code == 200
    assert put(who, f"{where}/tracks/{ISRC}/audio", wav()).status_code == 200
    return release_id


def test_a_release_is_handed_in_step_by_step(label: Visitor) -> None:
    account = label.post("/api/v1/distribution-accounts", {"service": "distrokid", "name": "Ours"}).json()["data"]
    where = f"/api/v1/distribution-accounts/{account['account_id']}"
    assert set(account) == {"account_id", "service", "name", "created_at", "profile_id"}
    draft = label.post("/api/v1/releases", {"title": "Not yet", "artist": "A"}).json()["data"]["release_id"]
    wish = {"release_id": draft, "account_id": account["account_id"]}
    refused(label.post("/api/v1/upload-sessions", wish), 409, "nothing_to_deliver")

    release_id = ready_release(label)
    refused(label.post("/api/v1/upload-sessions", {"release_id": release_id}), 404, "no_such_account")
    assigned = label.request(
        "PUT", f"/api/v1/releases/{release_id}/account", json={"account_id": account["account_id"]}
    )
    assert assigned.json()["data"]["account_id"] == account["account_id"]
    listed = eventually(lambda: label.get(f"{where}/releases").json()["data"])
    assert [each["release_id"] for each in listed] == [release_id]

    begun = label.post("/api/v1/upload-sessions", {"release_id": release_id, "steps": ["sign_in", "submit"]})
    assert begun.status_code == 201, begun.text
    session = begun.json()["data"]
    assert (session["status"], session["account_id"]) == ("open", account["account_id"])
    assert [each["status"] for each in session["steps"]] == ["pending", "pending"]
    again = label.post("/api/v1/upload-sessions", {"release_id": release_id})
    refused(again, 409, "upload_is_under_way")
    assert session["session_id"] in again.json()["error"]
    refused(label.delete(where), 409, "account_is_in_use")

    path = f"/api/v1/upload-sessions/{session['session_id']}"
    failed = label.request("PUT", f"{path}/steps/sign_in", json={"status": "failed", "note": "A code was asked for."})
    assert failed.json()["data"]["steps"][0]["note"] == "A code was asked for."
    refused(label.request("PUT", f"{path}/steps/dance", json={"status": "done"}), 404, "no_such_step")
    refused(label.request("PUT", f"{path}/steps/a%00b", json={"status": "done"}), 404)
    refused(label.post(f"{path}/complete", {}), 409, "steps_are_left")
    for name in ("sign_in", "submit"):
        assert label.request("PUT", f"{path}/steps/{name}", json={"status": "done"}).status_code == 200
    done = label.post(f"{path}/complete", {"reference": "https://distributor.example/7"})
    assert (done.json()["data"]["status"], done.json()["data"]["reference"]) == (
        "completed", "https://distributor.example/7"
    )  # fmt: skip
    refused(label.post(f"{path}/abandon", {"reason": "no"}), 409, "upload_is_over")
    assert label.get(f"/api/v1/upload-sessions?release_id={release_id}").json()["pagination"]["total"] == 1
    assert label.delete(where).status_code == 200


def test_whoever_gives_up_leaves_the_account_to_the_next_session(label: Visitor) -> None:
    release_id = ready_release(label)
    account = label.post("/api/v1/distribution-accounts", {"service": "x", "name": "Y"}).json()["data"]["account_id"]
    wish = {"release_id": release_id, "account_id": account}
    first = label.post("/api/v1/upload-sessions", wish).json()["data"]["session_id"]
    assert label.post(f"/api/v1/upload-sessions/{first}/abandon", {"reason": "wrong"}).status_code == 200
    assert label.post("/api/v1/upload-sessions", wish).status_code == 201


def in_the_name_of(who: Visitor, stack: Stack, wishes: Sequence[Command]) -> None:
    """Commands as a process of the service executes them, all at once."""
    context = Context(correlation_id=uuid4(), workspace_id=who.workspace_id)

    async def executed() -> None:
        async with container(stack.settings) as here:
            ports = await here.get(Ports)
            await asyncio.gather(*(ports.execute(each, context) for each in wishes))

    asyncio.run(executed())


def test_a_session_of_which_nothing_is_heard_is_over_by_itself(label: Visitor, stack: Stack) -> None:
    account = label.post("/api/v1/distribution-accounts", {"service": "x", "name": "Y"}).json()["data"]["account_id"]
    wish = {"release_id": ready_release(label), "account_id": account, "steps": ["sign_in", "submit"]}
    session = label.post("/api/v1/upload-sessions", wish).json()["data"]["session_id"]
    path = f"/api/v1/upload-sessions/{session}"
    # Nobody waits for a day: this report is the last that is waited for, and only for a moment.
    last = ReportStep(
        session_id=session, workspace_id=label.workspace_id, step="sign_in", status="running", note="",
        timeout=timedelta(seconds=0.5),
    )  # fmt: skip
    in_the_name_of(label, stack, [last])

    assert eventually(lambda: label.get(path).json()["data"]["status"] == "expired", timeout=60)
    refused(label.request("PUT", f"{path}/steps/sign_in", json={"status": "done"}), 409, "upload_is_over")
    assert label.post("/api/v1/upload-sessions", wish).status_code == 201


def test_a_workspace_has_no_more_accounts_than_are_bounded(label: Visitor, stack: Stack) -> None:
    who, path = sign_in(label.http), "/api/v1/distribution-accounts"
    some = [
        AddAccount(account_id=f"{who.workspace_id}-{number}", workspace_id=who.workspace_id, service="x", name="Y")
        for number in range(ACCOUNTS_MAX - 1)
    ]
    in_the_name_of(who, stack, some)
    eventually(lambda: who.get(path).json()["pagination"]["total"] == ACCOUNTS_MAX - 1, timeout=60)
    assert who.post(path, {"service": "x", "name": "The last"}).status_code == 201
    refused(who.post(path, {"service": "x", "name": "One more"}), 409, "too_many_accounts")
    assert label.post(path, {"service": "x", "name": "Another workspace's"}).status_code == 201
    assert who.delete(f"{path}/{some[0].account_id}").status_code == 200
    assert who.post(path, {"service": "x", "name": "In its place"}).status_code == 201


def test_another_workspace_s_sessions_and_accounts_are_not_there(label: Visitor) -> None:
    account = label.post("/api/v1/distribution-accounts", {"service": "x", "name": "Y"}).json()["data"]["account_id"]
    stranger = sign_in(label.http)
    release_id = stranger.post("/api/v1/releases", {"title": "Mine", "artist": "I"}).json()["data"]["release_id"]
    refused(stranger.get(f"/api/v1/distribution-accounts/{account}"), 404, "no_such_account")
    taken = stranger.request("PUT", f"/api/v1/releases/{release_id}/account", json={"account_id": account})
    refused(taken, 404, "no_such_account")
    begun = label.post("/api/v1/upload-sessions", {"release_id": ready_release(label), "account_id": account})
    session = begun.json()["data"]
    path = f"/api/v1/upload-sessions/{session['session_id']}"
    for answer in (
        stranger.get(path),
        stranger.request("PUT", f"{path}/steps/{session['steps'][0]['name']}", json={"status": "failed"}),
        stranger.post(f"{path}/complete", {}),
        stranger.post(f"{path}/abandon", {"reason": "not yours"}),
    ):
        refused(answer, 404, "no_such_upload_session")
    assert stranger.get("/api/v1/upload-sessions").json()["data"] == []
    assert label.get(path).json()["data"] == session


def test_only_an_admin_says_which_session_signs_in(label: Visitor) -> None:
    account = label.post("/api/v1/distribution-accounts", {"service": "x", "name": "Y"}).json()["data"]["account_id"]
    path = f"/api/v1/distribution-accounts/{account}/profile"
    member = join(label, "member")
    assert member.request("PUT", path, json={"profile_id": None}).status_code == 403
    refused(label.request("PUT", path, json={"profile_id": 4611686018427387904}), 404, "no_such_browser_profile")
    assert label.request("PUT", path, json={"profile_id": None}).json()["data"]["profile_id"] is None
