"""Keys in the hands of their project's people, and machines in those of whoever has a key, over HTTP."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from standardwebhooks import Webhook

from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Neighbour, eventually
from tests.licensing.studio import ACTIVATION, MOMENT, UUID4, ask, new_code, new_project, refusal

Json = dict[str, Any]


@pytest.fixture(scope="module")
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def stranger(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def project(developer: Visitor) -> str:
    return new_project(developer)


@pytest.fixture
def code(developer: Visitor, project: str) -> str:
    return new_code(developer, project)


def done(answer: httpx.Response) -> Json:
    assert answer.status_code in (200, 201), answer.text
    body: Json = answer.json()
    return body


def verdict(http: httpx.Client, code: str, machine: str = "studio-mac", **more: Any) -> str:
    body = done(ask(http, "validate", code, machine, **more))
    return "valid" if body["valid"] else str(body["reason"])


# --- revoked, reinstated, transferred ---------------------------------------------------------------------------------


def test_a_revoked_key_is_refused_at_once_and_a_reinstated_one_is_good_again(
    client: httpx.Client, developer: Visitor, stranger: Visitor, code: str
) -> None:
    ask(client, "activate", code)
    revoked = done(developer.post(f"{ACTIVATION}/revoke", {"code": code.upper(), "reason": "Refund"}))
    assert revoked == {"success": True, "code": code, "is_revoked": True}
    assert done(developer.post(f"{ACTIVATION}/revoke", {"code": code})) == revoked
    assert verdict(client, code) == "code_revoked"
    assert refusal(ask(client, "activate", code)) == (403, "code_revoked")
    assert done(client.get(f"{ACTIVATION}/status/{code}"))["is_revoked"] is True
    assert done(developer.post(f"{ACTIVATION}/reinstate", {"code": code}))["is_revoked"] is False
    assert verdict(client, code) == "valid"
    for what in ("revoke", "reinstate", "transfer"):
        assert refusal(stranger.post(f"{ACTIVATION}/{what}", {"code": code})) == (404, "code_not_found")
        assert refusal(developer.post(f"{ACTIVATION}/{what}", {"code": str(uuid4())})) == (404, "code_not_found")
        assert refusal(developer.post(f"{ACTIVATION}/{what}", {"code": "nonsense"})) == (400, "invalid_code")
    assert verdict(client, code) == "valid"


def test_a_revoked_key_still_gives_its_seats_back_and_tells_the_original_s_client(
    client: httpx.Client, developer: Visitor, project: str, code: str
) -> None:
    ask(client, "activate", code)
    done(developer.post(f"{ACTIVATION}/revoke", {"code": code}))
    told = client.post(
        f"{ACTIVATION}/activate",
        json={"code": code, "machine_id": "a" * 64, "plugin_id": project},
        headers={"apikey": "publishable"},
    )
    assert (told.status_code, told.json()["error"], told.json()["code"]) == (403, "License revoked", "code_revoked")
    assert done(ask(client, "deactivate", code))["activations"] == 0


def test_a_transferred_license_has_a_new_code_and_the_old_one_is_dead(
    client: httpx.Client, developer: Visitor, project: str
) -> None:
    code = new_code(developer, project, max_activations=3, entitlements=["pro"])
    ask(client, "activate", code)
    moved = done(developer.post(f"{ACTIVATION}/transfer", {"code": code, "notes": "Sold to Ben"}))
    assert (moved["success"], moved["old_code"], moved["max_activations"]) == (True, code, 3)
    assert UUID4.fullmatch(moved["code"])
    assert done(developer.post(f"{ACTIVATION}/transfer", {"code": code})) == moved
    assert verdict(client, code) == "code_revoked"
    assert refusal(developer.post(f"{ACTIVATION}/reinstate", {"code": code})) == (409, "license_was_transferred")
    fresh = done(ask(client, "activate", moved["code"]))
    assert (fresh["activations"], fresh["entitlements"]) == (1, ["pro"])
    shown = done(developer.get(f"{ACTIVATION}/project/{project}/keys/{moved['code']}"))
    assert shown["notes"] == "Sold to Ben"


# --- what a key allows ------------------------------------------------------------------------------------------------


def test_an_expired_key_is_403_and_never_a_success(client: httpx.Client, developer: Visitor, project: str) -> None:
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    code = new_code(developer, project)
    ask(client, "activate", code)
    place = f"{ACTIVATION}/project/{project}/keys/{code}"
    assert done(developer.patch(place, {"expires_at": past}))["expires_at"]
    assert refusal(ask(client, "activate", code)) == (403, "code_expired")
    assert refusal(ask(client, "activate", code, "studio-pc")) == (403, "code_expired")
    assert refusal(ask(client, "offline", code)) == (403, "code_expired")
    assert verdict(client, code) == "expired"
    assert "expires_at" not in done(developer.patch(place, {"expires_at": None}))
    assert verdict(client, code) == "valid"
    naive = developer.patch(place, {"expires_at": "2027-01-01T00:00:00"})
    assert refusal(naive) == (400, "bad_request")


def test_a_trial_begins_when_it_is_first_activated(client: httpx.Client, developer: Visitor, project: str) -> None:
    code = new_code(developer, project, key_type="trial", trial_days=14)
    place = f"{ACTIVATION}/project/{project}/keys/{code}"
    assert "trial_ends_at" not in done(developer.get(place))
    answer = done(ask(client, "activate", code))
    left = datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=13, hours=23) < left <= timedelta(days=14)
    shown = done(developer.get(place))
    assert (shown["key_type"], shown["trial_ends_at"]) == ("trial", answer["expires_at"])
    assert done(ask(client, "validate", code)) == {"valid": True, "expires_at": answer["expires_at"]}


def test_versions_released_later_are_not_covered(client: httpx.Client, developer: Visitor, project: str) -> None:
    code = new_code(developer, project, updates_until="2026-06-30T23:59:59Z")
    late = ask(client, "activate", code, released_at="2026-07-01T00:00:00Z")
    assert refusal(late) == (403, "version_not_covered")
    assert late.json()["details"] == {"updates_until": "2026-06-30"}
    done(ask(client, "activate", code, released_at="2026-06-30T00:00:00Z"))
    assert verdict(client, code, released_at="2020-01-01T00:00:00Z") == "valid"
    assert verdict(client, code, released_at="2027-01-01T00:00:00Z") == "version_not_covered"


def test_a_machine_that_changes_one_component_keeps_its_seat(
    client: httpx.Client, developer: Visitor, project: str
) -> None:
    code = new_code(developer, project, max_activations=1)
    done(ask(client, "activate", code, "mac 1", fingerprints=["disk", "board", "cpu"]))
    assert verdict(client, code, "mac 2", fingerprints=["disk 2", "board", "cpu"]) == "valid"
    assert verdict(client, code, "mac 3", fingerprints=["disk 3", "board 3", "cpu"]) == "not_activated"
    two = ask(client, "activate", code, "mac 3", fingerprints=["disk 3", "board 3", "cpu"])
    assert refusal(two) == (403, "max_activations_reached")
    assert done(ask(client, "activate", code, "mac 2", fingerprints=["disk 2", "board", "cpu"]))["activations"] == 1
    assert verdict(client, code, "mac 2") == "valid"
    assert refusal(ask(client, "activate", code, "mac 2", fingerprints=["a", "b"])) == (400, "invalid_fingerprints")


def test_terms_change_later_and_say_what_is_wrong_with_them(
    client: httpx.Client, developer: Visitor, stranger: Visitor, project: str
) -> None:
    code = new_code(developer, project)
    place = f"{ACTIVATION}/project/{project}/keys/{code}"
    for machine in ("mac", "pc"):
        done(ask(client, "activate", code, machine))
    fewer = done(developer.patch(place, {"max_activations": 1, "entitlements": ["pro"], "notes": "One only"}))
    assert MOMENT.fullmatch(fewer["created_at"])
    assert fewer == {
        "code": code,
        "key_type": "project_test",
        "max_activations": 1,
        "current_activations": 2,
        "is_revoked": False,
        "notes": "One only",
        "created_at": fewer["created_at"],
        "last_activated_at": fewer["last_activated_at"],
        "entitlements": ["pro"],
    }
    assert verdict(client, code, "pc") == "valid"
    assert done(client.get(f"{ACTIVATION}/status/{code}"))["available"] == 0
    assert refusal(ask(client, "activate", code, "laptop")) == (403, "max_activations_reached")
    assert verdict(client, code, "pc", entitlements=["pro", "surround"]) == "entitlement_missing"
    wrong: list[Json] = [
        {"max_activations": 0}, {"max_activations": 1001}, {"heartbeat_seconds": 59}, {"colour": 1},
        {"entitlements": [""]},
    ]  # fmt: skip
    for body in wrong:
        assert refusal(developer.patch(place, body)) == (400, "bad_request"), body
    assert refusal(stranger.patch(place, {"notes": "Mine"})) == (404, "not_found")
    other = new_project(developer)
    assert refusal(developer.get(f"{ACTIVATION}/project/{other}/keys/{code}")) == (404, "code_not_found")


# --- machines ---------------------------------------------------------------------------------------------------------


def test_the_holder_sees_their_machines_masked_and_releases_a_lost_one(
    client: httpx.Client, developer: Visitor, code: str
) -> None:
    done(ask(client, "activate", code, "lost-laptop", machine_name="Ann's laptop"))
    done(ask(client, "activate", code, "studio-mac"))
    listed = done(ask(client, "machines", code, "studio-mac"))
    assert (listed["activations"], listed["max_activations"]) == (2, 2)
    here, lost = listed["machines"]
    assert set(lost) == {"id", "machine", "name", "activated_at", "is_this_one"}
    assert (here["is_this_one"], lost["is_this_one"]) == (True, False)
    assert (lost["name"], here["name"]) == ("A••••p", "")
    assert len(lost["machine"].rstrip("•")) == 4
    assert MOMENT.fullmatch(lost["activated_at"])
    assert "laptop" not in str(listed)

    def release(activation_id: str) -> httpx.Response:
        return client.post(f"{ACTIVATION}/machines/release", json={"code": code, "id": activation_id})

    assert done(release(lost["id"])) == {"success": True, "activations": 1, "max_activations": 2}
    assert done(release(lost["id"])) == done(release(lost["id"]))
    assert verdict(client, code, "lost-laptop") == "deactivated"
    assert verdict(client, code) == "valid"
    assert refusal(release(str(uuid4()))) == (404, "not_activated")
    unknown = client.post(f"{ACTIVATION}/machines", json={"code": str(uuid4())})
    assert refusal(unknown) == (404, "code_not_found")


def test_the_project_s_people_see_and_release_machines_too(
    client: httpx.Client, developer: Visitor, stranger: Visitor, project: str, code: str
) -> None:
    done(ask(client, "activate", code, machine_name="Mac"))
    place = f"{ACTIVATION}/project/{project}/keys/{code}/activations"
    [machine] = done(developer.get(place))["activations"]
    assert set(machine) == {"id", "machine", "name", "activated_at"}
    assert machine["name"] == "Mac"
    assert refusal(stranger.get(place)) == (404, "not_found")
    assert refusal(stranger.delete(f"{place}/{machine['id']}")) == (404, "not_found")
    gone = {"success": True, "activations": 0, "max_activations": 2}
    assert done(developer.delete(f"{place}/{machine['id']}")) == gone
    assert done(developer.delete(f"{place}/{machine['id']}")) == gone
    assert done(developer.get(place)) == {"activations": []}


def test_a_heartbeat_is_a_question_that_keeps_the_seat(
    client: httpx.Client, developer: Visitor, project: str, code: str
) -> None:
    watched = new_code(developer, project, heartbeat_seconds=60)
    done(ask(client, "activate", watched))
    assert done(ask(client, "heartbeat", watched)) == {"valid": True, "heartbeat_seconds": 60}
    assert done(ask(client, "heartbeat", watched, "studio-pc")) == {"valid": False, "reason": "not_activated"}
    done(ask(client, "activate", code))
    assert done(ask(client, "heartbeat", code)) == {"valid": True}
    nonce = uuid4().hex
    assert done(ask(client, "heartbeat", code, nonce=nonce))["signed"]["alg"] == "base64+ed25519"
    assert refusal(ask(client, "heartbeat", code, "unknown")) == (400, "invalid_machine_id")


# --- many at once -----------------------------------------------------------------------------------------------------


def test_a_thousand_keys_at_once_and_the_same_again_for_the_same_request(
    developer: Visitor, client: httpx.Client
) -> None:
    project = new_project(developer)
    place = f"{ACTIVATION}/project/{project}/keys"
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"count": 1000, "key_type": "purchase", "notes": "Launch"}
    made = developer.post(place, body, headers=headers)
    assert made.status_code == 201, made.text
    codes = [each["code"] for each in made.json()["keys"]]
    assert len(set(codes)) == 1000
    assert developer.post(place, body, headers=headers).json() == made.json()
    assert done(ask(client, "activate", codes[999]))["success"]
    listed = done(developer.get(place))["keys"]
    assert {each["code"] for each in listed} == set(codes)
    assert sum(each["current_activations"] for each in listed) == 1
    for count in (0, 1001, -1):
        assert refusal(developer.post(place, {"count": count})) == (400, "bad_request")


def import_(who: Visitor, project: str, text: str | bytes) -> httpx.Response:
    content = text.encode() if isinstance(text, str) else text
    place = f"{ACTIVATION}/project/{project}/keys/import"
    return who.request("POST", place, content=content, headers={"Content-Type": "text/csv"})


def test_a_sheet_is_imported_whole_or_not_at_all_and_twice_is_once(
    developer: Visitor, stranger: Visitor, client: httpx.Client
) -> None:
    project = new_project(developer)
    mine, legacy = str(uuid4()), f"{uuid4().hex[:4]}-AAAA-BBBB-CCCC".upper()
    sheet = f"code,max_activations,notes\n{mine},5,Ann\n{legacy},1,\n,2,New\n"
    made = done(import_(developer, project, sheet))["keys"]
    assert [each["code"] for each in made[:2]] == [mine, legacy]
    assert UUID4.fullmatch(made[2]["code"])
    assert {each["key_type"] for each in made} == {"purchase"}
    assert done(import_(developer, project, sheet))["keys"] == made
    assert len(done(developer.get(f"{ACTIVATION}/project/{project}/keys"))["keys"]) == 3
    assert done(ask(client, "activate", legacy.lower()))["max_activations"] == 1

    # One code of somebody else's, or one bad line, and nothing is imported.
    fresh, theirs = str(uuid4()), new_code(stranger, new_project(stranger))
    assert refusal(import_(developer, project, f"code\n{fresh}\n{theirs}\n")) == (409, "code_taken")
    bad = import_(developer, project, f"code\n{fresh}\nnonsense\n")
    assert refusal(bad) == (400, "invalid_sheet")
    assert bad.json()["details"]["line"] == 3
    assert refusal(import_(developer, project, b"code\n\xff\n")) == (400, "invalid_sheet")
    assert refusal(import_(developer, project, b"x" * (1024 * 1024 + 1)))[0] == 413
    assert client.get(f"{ACTIVATION}/status/{fresh}").status_code == 404
    assert refusal(import_(stranger, project, sheet)) == (404, "not_found")


def test_an_export_has_counts_and_can_be_imported(developer: Visitor, stranger: Visitor, client: httpx.Client) -> None:
    project = new_project(developer)
    code = new_code(developer, project, max_activations=4, notes="=1+1", entitlements=["pro", "surround"])
    ask(client, "activate", code)
    answer = developer.get(f"{ACTIVATION}/project/{project}/keys/export")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="keys-{project}.csv"'
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert MOMENT.fullmatch(row["created_at"])
    assert MOMENT.fullmatch(row["last_activated_at"])
    assert row | {"created_at": "", "last_activated_at": ""} == {
        "code": code, "key_type": "project_test", "max_activations": "4", "notes": "'=1+1", "expires_at": "",
        "trial_days": "", "entitlements": "pro;surround", "updates_until": "", "heartbeat_seconds": "",
        "current_activations": "1", "is_revoked": "false", "created_at": "", "last_activated_at": "",
        "trial_ends_at": "",
    }  # fmt: skip
    assert [each["code"] for each in done(import_(developer, project, answer.content))["keys"]] == [code]
    assert refusal(stranger.get(f"{ACTIVATION}/project/{project}/keys/export")) == (404, "not_found")


# --- told to others ---------------------------------------------------------------------------------------------------


def test_endpoints_that_choose_it_are_told_what_becomes_of_a_license(client: httpx.Client, receiver: Neighbour) -> None:
    developer = sign_in(client)
    chosen, usual = uuid4().hex, uuid4().hex
    types = ["license.activated", "license.revoked", "license.expired"]
    made = done(developer.post("/v1/webhook-endpoints", {"url": receiver.at(chosen), "event_types": types}))
    done(developer.post("/v1/webhook-endpoints", {"url": receiver.at(usual)}))
    project = new_project(developer)
    code = new_code(developer, project)
    done(ask(client, "activate", code, machine_name="Studio Mac"))
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    done(developer.patch(f"{ACTIVATION}/project/{project}/keys/{code}", {"expires_at": soon}))
    done(developer.post(f"{ACTIVATION}/revoke", {"code": code}))

    posts = eventually(lambda: len(found := receiver.received(chosen)) == 3 and found)
    assert posts
    told = {each.json["type"]: each for each in posts}
    assert set(told) == set(types)
    for each in posts:
        headers = {name.lower(): value for name, value in each.headers.items()}
        Webhook(made["signing_secret"]).verify(each.body, headers)
        assert each.json["data"]["code"] == code
    assert told["license.activated"].json["data"]["machine_name"] == "Studio Mac"
    assert told["license.activated"].json["data"]["current_activations"] == 1
    assert told["license.revoked"].json["data"]["is_revoked"] is True
    assert receiver.received(usual) == [], "who chose nothing is not told of what customers do"
