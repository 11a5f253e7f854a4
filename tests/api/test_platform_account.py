"""Analyses for a person who is signed in, as the platform's document shows them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.test_platform_analyses import ANALYSIS, MOMENT, pointed_at, told
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import eventually


@pytest.fixture(scope="module")
def me(client: httpx.Client) -> Visitor:
    """Somebody signed in."""
    return sign_in(client)


def uploaded(who: Visitor, content: bytes) -> dict[str, Any]:
    """A storage object with a recording in it."""
    answer = who.post("/v1/storage-objects", {"content_type": "audio/wav", "purpose": "upload"})
    assert answer.status_code == 201, answer.text
    offer: dict[str, Any] = answer.json()
    stored = httpx.put(offer["signed_url"], content=content, headers={"Content-Type": "audio/wav"})
    assert stored.status_code == 200
    return offer


def test_a_person_uploads_analyses_and_reads(me: Visitor, clip: bytes) -> None:
    offer = uploaded(me, clip)
    key = f"once-{uuid4()}"
    answer = me.post("/v1/account/analyses", {"idempotency_key": key, "storage_object_id": offer["id"]})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert set(job) == ANALYSIS
    assert job["idempotent_replay"] is False
    assert job["source_url"] == f"storage://{offer['bucket']}/{offer['key']}"

    path = f"/v1/account/analyses/{job['id']}"
    eventually(lambda: me.get(path).json()["status"] == "succeeded")
    assert me.get(path).json() == me.get(f"/v1/analyses/{job['id']}").json()
    result = me.get(f"{path}/result").json()
    assert set(result) == {"job_id", "report_artifact", "result", "status"}
    assert result["result"]["duration_seconds"] == pytest.approx(2.0, abs=0.05)
    features = me.get(f"{path}/result", params={"format": "spotify-features"}).json()
    assert features["result"]["type"] == "audio_features"
    events = me.get(f"{path}/events").json()
    assert events[0]["event_type"] == "analysis.requested"
    assert events[0]["metadata"]["actor"] == f"person:{me.user_id}"
    assert all(MOMENT.fullmatch(event["created_at"]) for event in events)

    again = me.post("/v1/account/analyses", {"idempotency_key": key, "storage_object_id": offer["id"]})
    assert (again.status_code, again.json()["id"], again.json()["idempotent_replay"]) == (202, job["id"], True)
    other = uploaded(me, clip)
    told(me.post("/v1/account/analyses", {"idempotency_key": key, "storage_object_id": other["id"]}), 409)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body", "idempotency_key"]),
        ({"storage_object_id": "string"}, ["body", "idempotency_key"]),
        ({"idempotency_key": "stringst"}, ["body", "storage_object_id"]),
        ({"idempotency_key": "short", "storage_object_id": "string"}, ["body", "idempotency_key"]),
        ({"idempotency_key": "x" * 129, "storage_object_id": "string"}, ["body", "idempotency_key"]),
        ({"idempotency_key": 12345678, "storage_object_id": "string"}, ["body", "idempotency_key"]),
        ({"idempotency_key": "stringst", "storage_object_id": ""}, ["body", "storage_object_id"]),
    ],
)
def test_a_key_has_8_to_128_characters_and_there_is_an_object(me: Visitor, body: Any, where: list[str]) -> None:
    assert pointed_at(me.post("/v1/account/analyses", body)) == where


def test_an_object_that_is_not_there_is_not_found(me: Visitor) -> None:
    body = {"idempotency_key": "stringst", "storage_object_id": "string"}
    told(me.post("/v1/account/analyses", body), 404)


@pytest.mark.parametrize("path", ["", "/events", "/result"])
def test_anothers_job_is_as_absent_as_one_that_never_was(
    client: httpx.Client, me: Visitor, clip: bytes, path: str
) -> None:
    offer = uploaded(me, clip)
    body = {"idempotency_key": f"once-{uuid4()}", "storage_object_id": offer["id"]}
    job = me.post("/v1/account/analyses", body).json()["id"]
    stranger = sign_in(client)
    theirs = stranger.get(f"/v1/account/analyses/{job}{path}")
    assert told(theirs, 404) == told(stranger.get(f"/v1/account/analyses/{uuid4()}{path}"), 404)
