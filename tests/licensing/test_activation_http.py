"""Plug-in activation over HTTP: every documented operation, field by field, and what its real client relies on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Stack, eventually
from tests.licensing.studio import ACTIVATION, MOMENT, UUID4, ask, new_code, new_project, refusal


@pytest.fixture(scope="module")
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def project(developer: Visitor) -> str:
    return new_project(developer)


@pytest.fixture
def code(developer: Visitor, project: str) -> str:
    return new_code(developer, project)


@pytest.fixture(scope="module")
def documented(stack: Stack) -> Iterator[httpx.Client]:
    """A process with the documented limits."""
    limits = {"activation_limit_per_minute": 60, "unknown_code_limit_per_minute": 60}
    with stack.door(**limits) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http


# --- as documented ----------------------------------------------------------------------------------------------------


def test_generate(developer: Visitor, project: str) -> None:
    answer = developer.post(
        f"{ACTIVATION}/generate", {"project_id": project, "max_activations": 3, "notes": "Beta tester - John"}
    )
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    key = answer.json()
    assert set(key) == {"code", "key_type", "max_activations", "created_at"}
    assert UUID4.fullmatch(key["code"])
    assert (key["key_type"], key["max_activations"]) == ("project_test", 3)
    assert MOMENT.fullmatch(key["created_at"])
    assert developer.post(f"{ACTIVATION}/generate", {"project_id": project}).json()["max_activations"] == 2


def test_list_project_keys(developer: Visitor, client: httpx.Client) -> None:
    project = new_project(developer)
    older = new_code(developer, project, max_activations=3, notes="Beta tester")
    newer = new_code(developer, project)
    assert ask(client, "activate", older).status_code == 200

    answer = developer.get(f"{ACTIVATION}/project/{project}/keys")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"keys"}
    assert [each["code"] for each in body["keys"]] == [newer, older]
    key = body["keys"][1]
    assert MOMENT.fullmatch(key["created_at"])
    assert MOMENT.fullmatch(key["last_activated_at"])
    assert "last_activated_at" not in body["keys"][0]
    assert key == {
        "code": older,
        "key_type": "project_test",
        "max_activations": 3,
        "current_activations": 1,
        "is_revoked": False,
        "notes": "Beta tester",
        "created_at": key["created_at"],
        "last_activated_at": key["last_activated_at"],
    }
    assert ask(client, "deactivate", older).status_code == 200
    assert developer.get(f"{ACTIVATION}/project/{project}/keys").json()["keys"][1]["current_activations"] == 0


def test_activate(client: httpx.Client, code: str) -> None:
    answer = ask(client, "activate", code)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"success": True, "activations": 1, "max_activations": 2, "remaining": 1}
    assert ask(client, "activate", code).json() == answer.json()
    assert ask(client, "activate", code, "studio-pc").json()["remaining"] == 0
    full = ask(client, "activate", code, "laptop")
    assert refusal(full) == (403, "max_activations_reached")
    assert full.json()["details"] == {"max_activations": 2}


def test_deactivate(client: httpx.Client, code: str) -> None:
    ask(client, "activate", code)
    answer = ask(client, "deactivate", code)
    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "activations": 0,
        "max_activations": 2,
        "message": "Machine deactivated successfully",
    }
    assert ask(client, "deactivate", code).json() == answer.json()
    assert refusal(ask(client, "deactivate", code, "never-here")) == (404, "not_activated")


def test_validate(client: httpx.Client, code: str) -> None:
    def answer(code: str, machine: str = "studio-mac") -> Any:
        found = ask(client, "validate", code, machine)
        assert found.status_code == 200
        return found.json()

    assert answer(code) == {"valid": False, "reason": "not_activated"}
    ask(client, "activate", code)
    assert answer(code) == {"valid": True}
    assert answer(code.upper()) == {"valid": True}
    assert answer(code, "studio-pc") == {"valid": False, "reason": "not_activated"}
    ask(client, "deactivate", code)
    assert answer(code) == {"valid": False, "reason": "deactivated"}
    assert answer(str(uuid4())) == {"valid": False, "reason": "code_not_found"}
    assert answer("no code at all") == {"valid": False, "reason": "code_not_found"}


def test_status(client: httpx.Client, code: str) -> None:
    ask(client, "activate", code)
    answer = client.get(f"{ACTIVATION}/status/{code}")
    assert answer.status_code == 200
    assert answer.json() == {"activations": 1, "max_activations": 2, "available": 1, "is_revoked": False}
    assert refusal(client.get(f"{ACTIVATION}/status/{uuid4()}")) == (404, "code_not_found")
    assert refusal(client.get(f"{ACTIVATION}/status/nonsense")) == (400, "invalid_code")


@pytest.mark.parametrize("what", ["activate", "deactivate"])
def test_errors_of_codes_and_machines(client: httpx.Client, code: str, what: str) -> None:
    assert refusal(ask(client, what, "not-a-code")) == (400, "invalid_code")
    assert refusal(ask(client, what, str(uuid4()))) == (404, "code_not_found")
    for machine in ("", "None", "unknown", "0" * 64, "00000000-0000-0000-0000-000000000000", "x" * 256):
        assert refusal(ask(client, what, code, machine)) == (400, "invalid_machine_id")
    wrong: list[Any] = [{}, {"code": code}, {"code": 7, "machine_id": "m"}, {"code": code, "machine_id": None}, [], "x"]
    for body in wrong:
        assert refusal(client.post(f"{ACTIVATION}/{what}", json=body)) == (400, "bad_request"), body
    assert refusal(client.post(f"{ACTIVATION}/{what}", content=b'{"code":')) == (400, "bad_request")
    assert client.get(f"{ACTIVATION}/status/{code}").json()["activations"] == 0


def test_placeholders_are_no_machine_for_validate_either(client: httpx.Client, code: str) -> None:
    assert refusal(ask(client, "validate", code, "unknown")) == (400, "invalid_machine_id")


def test_the_limit_counts_by_address_and_code_and_its_headers_are_as_documented(
    documented: httpx.Client, developer: Visitor, project: str
) -> None:
    code, other = new_code(developer, project), new_code(developer, project)
    for left in range(59, -1, -1):
        answer = ask(documented, "validate", code)
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit"] == "60"
        assert answer.headers["x-ratelimit-remaining"] == str(left)
        assert -1 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61
    over = ask(documented, "validate", code)
    assert refusal(over) == (429, "rate_limited")
    assert over.headers["x-ratelimit-remaining"] == "0"
    assert 1 <= int(over.headers["retry-after"]) <= 60
    assert refusal(documented.get(f"{ACTIVATION}/status/{code}")) == (429, "rate_limited")
    # A studio behind one address has other codes.
    assert ask(documented, "validate", other).status_code == 200


def test_nobody_tries_codes_without_end(documented: httpx.Client) -> None:
    # Other processes have counted some of the same minute already.
    answers = [ask(documented, "validate", str(uuid4())).status_code for _ in range(60)]
    assert answers == [200] * answers.count(200) + [429] * answers.count(429)
    assert answers[0] == 200
    assert refusal(ask(documented, "validate", str(uuid4()))) == (429, "rate_limited")
    assert refusal(ask(documented, "activate", str(uuid4()))) == (429, "rate_limited")


# --- who may do what --------------------------------------------------------------------------------------------------


def test_keys_are_for_the_people_of_the_project(developer: Visitor, client: httpx.Client, project: str) -> None:
    stranger = sign_in(client)
    assert refusal(stranger.get(f"{ACTIVATION}/project/{project}/keys")) == (404, "not_found")
    assert refusal(stranger.post(f"{ACTIVATION}/generate", {"project_id": project})) == (404, "not_found")
    assert refusal(developer.post(f"{ACTIVATION}/generate", {"project_id": str(uuid4())})) == (404, "not_found")
    assert refusal(client.post(f"{ACTIVATION}/generate", json={"project_id": project})) == (401, "unauthorized")
    viewer = join(developer, "viewer")
    assert refusal(viewer.post(f"{ACTIVATION}/generate", {"project_id": project})) == (403, "forbidden")


@pytest.mark.parametrize("wrong", [0, -1, 1001, "many", 1.5, None])
def test_seats_are_1_to_1000(developer: Visitor, project: str, wrong: object) -> None:
    body = {"project_id": project, "max_activations": wrong}
    assert refusal(developer.post(f"{ACTIVATION}/generate", body)) == (400, "bad_request")


def test_generate_sent_again_with_its_key_gives_the_same_code(developer: Visitor, project: str) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"project_id": project}
    first = developer.post(f"{ACTIVATION}/generate", body, headers=headers)
    assert developer.post(f"{ACTIVATION}/generate", body, headers=headers).json() == first.json()
    changed = developer.post(f"{ACTIVATION}/generate", {**body, "notes": "x"}, headers=headers)
    assert refusal(changed) == (409, "conflict")


# --- the client of the original ---------------------------------------------------------------------------------------

STRANGE = {"apikey": "pk_live_publishable", "Authorization": "Bearer pk_live_publishable"}


def as_the_original(
    http: httpx.Client, what: str, code: str, plugin_id: str, machine: str = "a" * 64
) -> httpx.Response:
    """As the original's client asks: with a publishable key that is no token, and the project it was built for."""
    body = {"code": code, "machine_id": machine, "plugin_id": plugin_id}
    return http.post(f"{ACTIVATION}/{what}", json=body, headers=STRANGE)


def test_a_strange_bearer_token_is_nobodys_business(client: httpx.Client, code: str, project: str) -> None:
    activated = as_the_original(client, "activate", code, project)
    assert activated.status_code == 200
    body = activated.json()
    assert MOMENT.fullmatch(body.pop("activated_at"))
    assert body == {"success": True, "activations": 1, "max_activations": 2, "remaining": 1}
    assert as_the_original(client, "validate", code, project).json() == {"valid": True}
    assert as_the_original(client, "deactivate", code, project).status_code == 200


@pytest.mark.parametrize(("what"), ["activate", "deactivate"])
def test_its_client_finds_the_words_it_looks_for(client: httpx.Client, what: str, project: str) -> None:
    unknown = as_the_original(client, what, str(uuid4()), project)
    assert (unknown.status_code, unknown.json()["error"]) == (404, "Invalid activation code")
    assert unknown.json()["code"] == "code_not_found"
    malformed = as_the_original(client, what, "nonsense", project)
    assert (malformed.status_code, malformed.json()["error"]) == (400, "Invalid activation code")
    assert malformed.json()["code"] == "invalid_code"


def test_its_client_is_told_that_the_limit_is_reached(client: httpx.Client, developer: Visitor, project: str) -> None:
    code = new_code(developer, project, max_activations=1)
    assert as_the_original(client, "activate", code, project).status_code == 200
    full = as_the_original(client, "activate", code, project, "b" * 64)
    assert (full.status_code, full.json()["error"]) == (403, "Activation limit reached")
    assert full.json()["code"] == "max_activations_reached"
    assert set(full.json()) == {"error", "code", "message", "details"}


def test_its_client_is_understood_as_juce_sends_what_it_asks(client: httpx.Client, code: str, project: str) -> None:
    # It drops the options that it has made of its headers (`withExtraHeaders` returns others), so JUCE sends its own.
    def asks(what: str, of: str) -> httpx.Response:
        body = json.dumps({"code": of, "plugin_id": project, "machine_id": "a" * 64}, indent=2)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return client.post(f"{ACTIVATION}/{what}", content=body, headers=headers)

    assert asks("activate", code).json()["activations"] == 1
    assert asks("validate", code).json() == {"valid": True}
    assert asks("deactivate", code).status_code == 200
    assert asks("validate", code).json() == {"valid": False, "reason": "deactivated"}
    for what in ("activate", "deactivate"):
        unknown = asks(what, str(uuid4()))
        assert (unknown.status_code, unknown.json()["error"]) == (404, "Invalid activation code")


@pytest.mark.parametrize("missing", ["apikey", "plugin_id"])
def test_with_only_one_of_its_marks_the_documented_code_is_told(
    client: httpx.Client, project: str, missing: str
) -> None:
    body = {"code": str(uuid4()), "machine_id": "a" * 64, "plugin_id": project}
    headers = dict(STRANGE)
    (headers if missing == "apikey" else body).pop(missing)
    answer = client.post(f"{ACTIVATION}/activate", json=body, headers=headers)
    assert refusal(answer) == (404, "code_not_found")


def test_its_client_never_gets_an_error_member_from_validate(client: httpx.Client, project: str) -> None:
    for wrong in (str(uuid4()), "nonsense", "ABCD-1234-EFGH-5678"):
        answer = as_the_original(client, "validate", wrong, project)
        assert (answer.status_code, answer.json()) == (200, {"valid": False, "reason": "code_not_found"})


def test_a_code_of_one_project_is_unknown_to_the_plug_in_of_another(
    client: httpx.Client, developer: Visitor, code: str
) -> None:
    other = new_project(developer, "Another plug-in")
    assert as_the_original(client, "activate", code, other).status_code == 404
    assert as_the_original(client, "validate", code, other).json()["reason"] == "code_not_found"
    assert refusal(ask(client, "activate", code, plugin_id=other)) == (404, "code_not_found")


# --- many at once -----------------------------------------------------------------------------------------------------


def test_two_hundred_at_once_for_the_last_seat_and_one_gets_it(
    client: httpx.Client, elsewhere: str, developer: Visitor, project: str
) -> None:
    code = new_code(developer, project, max_activations=2)
    assert ask(client, "activate", code, "the-first").status_code == 200

    def activate(number: int) -> httpx.Response:
        return ask(crowd[number % 2], "activate", code, f"machine-{number}")

    limits = httpx.Limits(max_connections=100)
    with (
        httpx.Client(base_url=client.base_url, timeout=60, limits=limits) as here,
        httpx.Client(base_url=elsewhere, timeout=60, limits=limits) as there,
        ThreadPoolExecutor(64) as pool,
    ):
        crowd = (here, there)
        answers = list(pool.map(activate, range(200)))

    assert sorted(each.status_code for each in answers) == [200] + [403] * 199
    assert {each.json()["error"] for each in answers if each.status_code == 403} == {"max_activations_reached"}
    assert client.get(f"{ACTIVATION}/status/{code}").json()["activations"] == 2


def test_nothing_of_a_machine_or_a_code_is_in_the_log(client: httpx.Client, stack: Stack, code: str) -> None:
    machine = f"serial-{uuid4().hex}"
    ask(client, "activate", code, machine, fingerprints=[f"{machine}-disk", f"{machine}-cpu", f"{machine}-board"])
    client.get(f"{ACTIVATION}/status/{code}")
    assert machine not in stack.log
    assert code not in stack.log


def test_a_machine_that_changes_part_by_part_stays_the_same_as_long_as_it_asks(
    client: httpx.Client, developer: Visitor
) -> None:
    code = new_code(developer, new_project(developer))
    ask(client, "activate", code, fingerprints=["disk", "cpu", "board"])

    def valid(machine: str, *parts: str) -> bool:
        return bool(ask(client, "validate", code, machine, fingerprints=list(parts)).json()["valid"])

    assert valid("renamed", "new-disk", "cpu", "board")
    # Two of three are others than when it was activated, one is another than when it asked last.
    assert valid("renamed", "new-disk", "new-cpu", "board")
    assert not valid("another", "new-disk", "other-cpu", "other-board")
    assert not valid("another", "disk", "cpu", "board")


def test_codes_of_a_workspace_that_is_forgotten_are_codes_no_longer(client: httpx.Client) -> None:
    me = sign_in(client)
    project_id = new_project(me)
    codes = [new_code(me, project_id) for _ in range(2)]
    for code in codes:
        assert ask(client, "activate", code).status_code == 200
    assert me.request("DELETE", f"/v1/account/workspaces/{me.workspace_id}").status_code == 200

    def is_none(code: str) -> bool:
        answer = ask(client, "validate", code)
        assert answer.status_code == 200
        return bool(answer.json() == {"valid": False, "reason": "code_not_found"})

    for code in codes:
        assert eventually(partial(is_none, code))
        assert refusal(ask(client, "activate", code, "other")) == (404, "code_not_found")
        assert refusal(client.get(f"{ACTIVATION}/status/{code}")) == (404, "code_not_found")
