"""Who may ask for beats, how many at once, and what a month allows: over HTTP, with real races."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from commands.beats.settings import OPEN_WORKSPACE
from tests.api.test_held_bodies import held
from tests.identity.crowd import sign_in
from tests.journeys.kit import Stack

BODY = {"categoryName": "Trap - Dark/Aggressive", "mode": "metadata_only"}


def got(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def opened(stack: Stack) -> Iterator[httpx.Client]:
    """A door that asks nobody who they are, with a month of three generations."""
    with (
        stack.door(env="production", beats_auth="open", monthly_generation_limits={"free": 3}) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield http


def test_open_to_everybody_acts_in_one_workspace_and_on_this_surface_only(
    opened: httpx.Client, client: httpx.Client
) -> None:
    made = got(opened.post("/api/generate/beat", json=BODY))["beat"]["id"]

    assert got(opened.get(f"/api/beats/{made}"))["id"] == made
    assert made in {each["id"] for each in got(opened.get("/api/beats"))["data"]}
    # Somebody with a session is who they are, there too; a wrong key is wrong.
    me = sign_in(client)
    assert opened.get(f"/api/beats/{made}", headers=me.headers).status_code == 404
    assert opened.get("/api/beats", headers={"X-API-Key": "bz_wrong"}).status_code == 401
    for path in ("/v1/analyses", "/v1/api-keys", "/v1/audit-events"):
        assert opened.get(path).status_code == 401, path
    assert OPEN_WORKSPACE not in opened.get(f"/api/beats/{made}").text


def test_what_a_guest_sends_may_come_late(opened: httpx.Client) -> None:
    with held(opened, "/api/generate/beat", None, json.dumps(BODY).encode()) as request:
        assert request.late() == 200


def test_pages_of_other_sites_have_nothing_made(opened: httpx.Client) -> None:
    for headers in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = opened.post("/api/generate/beat", json=BODY, headers=headers)
        assert answer.status_code == 403, headers
    # A page whose name leads to this machine is of its own site, and is no page of ours.
    for rebound in ({"Host": "evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"}):
        assert opened.post("/api/generate/beat", json=BODY, headers=rebound).status_code == 421
        assert opened.get("/api/beats", headers=rebound).status_code == 421
    own = {"Origin": str(opened.base_url).rstrip("/")}
    assert opened.post("/api/generate/beat", json=BODY, headers=own).status_code == 200


def test_closed_it_asks_who_somebody_is(client: httpx.Client) -> None:
    answer = client.get("/api/beats")
    assert (answer.status_code, answer.json()["error"]) == (401, "Missing or invalid API key")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_many_at_once_get_numbers_of_their_own_within_the_month(opened: httpx.Client) -> None:
    beat_id = got(opened.post("/api/generate/beat", json=BODY))["beat"]["id"]
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: opened.post(f"/api/beats/{beat_id}/versions"), range(8)))

    taken = [each for each in answers if each.status_code == 200]
    refused = [each for each in answers if each.status_code == 429]
    assert (len(taken), len(refused)) == (3, 5), [each.text for each in answers]
    assert sorted(each.json()["version"]["versionNumber"] for each in taken) == [1, 2, 3]
    assert refused[0].json()["error"] == "Monthly quota exceeded"
    assert int(refused[0].headers["retry-after"]) > 0
    beat = got(opened.get(f"/api/beats/{beat_id}"))
    assert [each["isPrimary"] for each in beat["versions"]].count(True) == 1
    got(opened.post(f"/api/beats/{beat_id}/cancel"))


def test_of_two_who_ask_for_the_first_audio_one_is_refused(client: httpx.Client) -> None:
    me = sign_in(client)
    beat_id = got(me.post("/api/generate/beat", BODY))["beat"]["id"]
    with ThreadPoolExecutor(4) as crowd:
        answers = list(
            crowd.map(lambda _: client.post(f"/api/beats/{beat_id}/generate-audio", headers=me.headers), range(4))
        )
    assert sorted(each.status_code for each in answers) == [200, 400, 400, 400]
    got(me.post(f"/api/beats/{beat_id}/cancel"))


def test_a_full_batch_is_made_or_refused_as_a_whole(opened: httpx.Client) -> None:
    before = got(opened.get("/api/beats"))["pagination"]["total"]
    refused = opened.post("/api/generate/beats", json={"count": 4, "mode": "full"})
    assert refused.status_code == 429
    assert got(opened.get("/api/beats"))["pagination"]["total"] == before
