"""Storage objects and analyses as the platform's document shows them: every operation, every field, every refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from adapters.storage.settings import S3
from commands.settings import Files
from tests.journeys.kit import Account, Neighbour, Reply, Stack, eventually

Register = Callable[[], Account]

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
PNG = b"\x89PNG\r\n\x1a\n"

ANALYSIS = {
    "created_at",
    "id",
    "idempotent_replay",
    "source_url",
    "status",
    "updated_at",
    "completed_at",
    "error",
    "metadata",
    "storage_object_id",
    "webhook_endpoint_id",
}


@pytest.fixture(scope="module")
def me(account: Register) -> Account:
    """Somebody with a key."""
    return account()


@pytest.fixture(scope="module")
def stranger(account: Register) -> Account:
    """Somebody of another workspace."""
    return account()


def told(answer: httpx.Response, status: int) -> str:
    """The sentence of a refusal with this status."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["detail"]
    assert isinstance(body["detail"], str), body
    return str(body["detail"])


def pointed_at(answer: httpx.Response) -> list[Any]:
    """Where the one mistake of a 422 is."""
    assert answer.status_code == 422, answer.text
    [mistake] = answer.json()["detail"]
    assert set(mistake) == {"loc", "msg", "type", "input", "ctx"}
    where: list[Any] = mistake["loc"]
    return where


def offered(who: Account, content_type: str = "audio/wav") -> dict[str, Any]:
    """A new storage object."""
    answer = who.post("/v1/storage-objects", json={"content_type": content_type, "purpose": "upload"})
    assert answer.status_code == 201, answer.text
    offer: dict[str, Any] = answer.json()
    return offer


def uploaded(who: Account, content: bytes, content_type: str = "audio/wav") -> dict[str, Any]:
    """A storage object with something in it."""
    offer = offered(who, content_type)
    stored = httpx.put(offer["signed_url"], content=content, headers={"Content-Type": content_type})
    assert stored.status_code == 200, stored.text
    return offer


def over(who: Account, job_id: str) -> dict[str, Any]:
    """The job once nothing more will happen to it."""

    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = who.get(f"/v1/analyses/{job_id}").json()
        return job if job["status"] not in ("queued", "running") else None

    found = eventually(look, 60)
    assert found is not None
    return found


def analysed(who: Account, **body: Any) -> dict[str, Any]:
    """A job that was just accepted."""
    answer = who.post("/v1/analyses", json=body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


# --- storage objects --------------------------------------------------------------------------------------------------


def test_a_storage_object_says_where_to_upload_for_a_quarter_of_an_hour(me: Account, stack: Stack) -> None:
    offer = offered(me)

    assert set(offer) == {"bucket", "expires_at", "id", "key", "signed_url"}
    assert str(UUID(offer["id"])) == offer["id"]
    assert offer["bucket"] == stack.settings[S3].s3_bucket
    assert offer["id"] in offer["key"]
    assert offer["key"] in offer["signed_url"]
    assert MOMENT.fullmatch(offer["expires_at"])
    left = datetime.fromisoformat(offer["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)


def test_an_upload_with_another_content_type_than_announced_is_turned_away(me: Account, clip: bytes) -> None:
    offer = offered(me, "audio/wav")
    answer = httpx.put(offer["signed_url"], content=clip, headers={"Content-Type": "text/html"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body", "content_type"]),
        ({"content_type": "audio/wav"}, ["body", "purpose"]),
        ({"content_type": "audio/wav", "purpose": "world domination"}, ["body", "purpose"]),
        ({"content_type": "text/html", "purpose": "upload"}, ["body", "content_type"]),
        ({"content_type": "string", "purpose": "upload"}, ["body", "content_type"]),
        ({"content_type": "audio/wav\r\nX-Evil: 1", "purpose": "upload"}, ["body", "content_type"]),
        ({"content_type": 7, "purpose": "upload"}, ["body", "content_type"]),
        ({"content_type": "audio/wav", "purpose": "upload", "size_bytes": 0}, ["body", "size_bytes"]),
    ],
)
def test_what_is_no_announcement_of_audio_is_pointed_at(me: Account, body: Any, where: list[str]) -> None:
    assert pointed_at(me.post("/v1/storage-objects", json=body)) == where


def test_an_announced_size_beyond_the_limit_is_refused_before_anything_is_uploaded(me: Account, stack: Stack) -> None:
    body = {
        "content_type": "audio/wav",
        "purpose": "upload",
        "size_bytes": stack.settings[Files].upload_bytes_max + 1,
    }
    assert str(stack.settings[Files].upload_bytes_max) in told(me.post("/v1/storage-objects", json=body), 413)


def test_a_link_for_an_announced_size_takes_that_size_only(me: Account, clip: bytes) -> None:
    body = {"content_type": "audio/wav", "purpose": "upload", "size_bytes": len(clip)}
    url = me.post("/v1/storage-objects", json=body).json()["signed_url"]
    headers = {"Content-Type": "audio/wav"}
    assert httpx.put(url, content=clip + b"more", headers=headers).status_code == 403
    assert httpx.put(url, content=clip, headers=headers).status_code == 200


# --- analyses of what was uploaded ----------------------------------------------------------------------------------


def test_what_was_uploaded_is_analysed_reported_and_deleted(me: Account, stack: Stack, clip: bytes) -> None:
    offer = uploaded(me, clip)
    job = analysed(me, storage_object_id=offer["id"], metadata={"title": "Überklang", "n": [1, {"a": None}]})

    assert set(job) == ANALYSIS
    assert str(UUID(job["id"])) == job["id"]
    assert job["status"] in ("queued", "running", "succeeded")
    assert job["idempotent_replay"] is False
    assert job["source_url"] == f"storage://{offer['bucket']}/{offer['key']}"
    assert job["metadata"] == {"title": "Überklang", "n": [1, {"a": None}]}
    assert job["storage_object_id"] == offer["id"]
    assert MOMENT.fullmatch(job["created_at"])
    assert MOMENT.fullmatch(job["updated_at"])

    done = over(me, job["id"])
    assert done["status"] == "succeeded"
    assert done["error"] is None
    assert done["idempotent_replay"] is False
    assert done["completed_at"] == done["updated_at"]
    eventually(lambda: offer["key"] not in stack.objects("storage/"))

    result = me.get(f"/v1/analyses/{job['id']}/result").json()
    assert set(result) == {"job_id", "report_artifact", "result", "status"}
    assert result["job_id"] == job["id"]
    assert result["status"] == "succeeded"
    heard = result["result"]
    assert heard["duration_seconds"] == pytest.approx(2.0, abs=0.05)
    assert heard["integrated_loudness_lufs"] == heard["loudness_lufs"]
    assert heard["rms_loudness"] == heard["rms_dbfs"]
    assert me.get(f"/v1/analysis/{job['id']}").json()["status"] == "completed"


def test_the_report_has_the_detail_and_four_pictures_behind_links_that_work(
    me: Account, audio: Neighbour, clip: bytes
) -> None:
    job = analysed(me, source_url=audio.put("report.wav", clip))
    over(me, job["id"])

    def drawn() -> Any:
        report = me.get(f"/v1/analyses/{job['id']}/result").json()["report_artifact"]
        return report if len(report["files"]) == 5 else None

    report = eventually(drawn)
    assert set(report) == {"detail_url", "expires_at", "files", "pictures"}
    assert set(report["pictures"].values()) == {"stored"}
    assert MOMENT.fullmatch(report["expires_at"])
    names = [file["name"] for file in report["files"]]
    assert names == ["detail.json", "overview.png", "waveform.png", "chromagram.png", "loudness.png"]
    assert set(names[1:]) == set(report["pictures"])
    detail = httpx.get(report["detail_url"])
    assert detail.status_code == 200
    assert "beats" in detail.json()
    for file in report["files"][1:]:
        assert set(file) == {"name", "url", "content_type", "size_bytes"}
        picture = httpx.get(file["url"])
        assert picture.headers["content-type"] == file["content_type"] == "image/png"
        assert picture.content.startswith(PNG)
        assert len(picture.content) == file["size_bytes"]


def test_the_result_can_be_read_in_spotifys_two_schemas(me: Account, audio: Neighbour, clip: bytes) -> None:
    job = analysed(me, source_url=audio.put("spotify.wav", clip))
    over(me, job["id"])

    features = me.get(f"/v1/analyses/{job['id']}/result", params={"format": "spotify-features"}).json()
    assert features["status"] == "succeeded"
    assert {"danceability", "energy", "key", "loudness", "mode", "tempo", "time_signature", "duration_ms"} <= set(
        features["result"]
    )
    assert features["result"]["duration_ms"] == pytest.approx(2000, abs=50)
    analysis = me.get(f"/v1/analyses/{job['id']}/result", params={"format": "spotify-analysis"}).json()["result"]
    assert {"meta", "track", "bars", "beats", "tatums", "sections", "segments"} == set(analysis)
    assert analysis["track"]["num_samples"] > 0
    odd = me.get(f"/v1/analyses/{job['id']}/result", params={"format": "morse"})
    assert pointed_at(odd) == ["query", "format"]


def test_before_the_end_there_is_no_result_and_no_report(me: Account, audio: Neighbour, clip: bytes) -> None:
    slow = audio.answer("slow.wav", Reply(200, clip, {"Content-Type": "audio/wav"}, delay=1.0))
    job = analysed(me, source_url=slow)
    for schema in (None, "spotify-features", "spotify-analysis"):
        early = me.get(f"/v1/analyses/{job['id']}/result", params={"format": schema} if schema else {}).json()
        assert early["status"] in ("queued", "running")
        assert early == {"job_id": job["id"], "report_artifact": None, "result": None, "status": early["status"]}
    assert over(me, job["id"])["status"] == "succeeded"


def test_what_cannot_be_heard_fails_with_a_sentence_in_both_views(me: Account, stack: Stack) -> None:
    offer = uploaded(me, b"\x89PNG\r\n\x1a\n" + b"this is no music" * 100)
    job = over(me, analysed(me, storage_object_id=offer["id"])["id"])

    assert job["status"] == "failed"
    assert isinstance(job["error"], str)
    assert me.get(f"/v1/analyses/{job['id']}/result").json() == {
        "job_id": job["id"],
        "report_artifact": None,
        "result": None,
        "status": "failed",
    }
    assert me.get(f"/v1/analysis/{job['id']}").json()["error"] == job["error"]
    eventually(lambda: offer["key"] not in stack.objects("storage/"))


def test_nothing_uploaded_yet_is_a_conflict_and_the_object_can_still_be_used(me: Account, clip: bytes) -> None:
    offer = offered(me)
    refusal = me.post("/v1/analyses", json={"storage_object_id": offer["id"]})
    assert "Nothing has been uploaded" in told(refusal, 409)
    httpx.put(offer["signed_url"], content=b"", headers={"Content-Type": "audio/wav"})
    told(me.post("/v1/analyses", json={"storage_object_id": offer["id"]}), 409)
    httpx.put(offer["signed_url"], content=clip, headers={"Content-Type": "audio/wav"})
    assert over(me, analysed(me, storage_object_id=offer["id"])["id"])["status"] == "succeeded"


def test_what_is_too_large_is_refused_and_deleted(me: Account, stack: Stack, small: str, clip: bytes) -> None:
    offer = uploaded(me, clip)
    answer = httpx.post(f"{small}/v1/analyses", json={"storage_object_id": offer["id"]}, headers=me.headers)
    assert "1000" in told(answer, 413)
    assert offer["key"] not in stack.objects("storage/")


def test_an_object_is_analysed_once_also_when_eight_ask_at_once(me: Account, clip: bytes) -> None:
    offer = uploaded(me, clip)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: me.post("/v1/analyses", json={"storage_object_id": offer["id"]}), range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
    again = me.post("/v1/analyses", json={"storage_object_id": offer["id"]})
    assert "analysed already" in told(again, 409)


def test_anothers_object_is_not_found_whether_or_not_something_is_in_it(
    me: Account, stranger: Account, clip: bytes
) -> None:
    never = told(me.post("/v1/analyses", json={"storage_object_id": str(uuid4())}), 404)
    for offer in (uploaded(me, clip), offered(me)):
        assert told(stranger.post("/v1/analyses", json={"storage_object_id": offer["id"]}), 404) == never


# --- what may be asked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body"]),
        ({"source_url": None, "storage_object_id": None}, ["body"]),
        ({"source_url": "https://example.com/a.mp3", "storage_object_id": "x"}, ["body"]),
        ({"source_url": ""}, ["body", "source_url"]),
        ({"storage_object_id": "\0"}, ["body", "storage_object_id"]),
        ({"source_url": "https://example.com/a", "webhook_endpoint_id": "\0"}, ["body", "webhook_endpoint_id"]),
        ({"source_url": "file:///etc/passwd"}, ["body", "source_url"]),
        ({"source_url": "http://10.0.0.1/a.mp3"}, ["body", "source_url"]),
        ({"source_url": "https://example.com/a", "webhook_url": "http://[::1]/x"}, ["body", "webhook_url"]),
        ({"source_url": "https://example.com/a", "metadata": "text"}, ["body", "metadata"]),
        ({"source_url": "https://example.com/a", "metadata": {"x": "y" * 9000}}, ["body", "metadata"]),
        ([], ["body"]),
    ],
)
def test_exactly_one_source_and_only_public_addresses(me: Account, body: Any, where: list[str]) -> None:
    assert pointed_at(me.post("/v1/analyses", json=body)) == where


def test_an_endpoint_that_is_not_there_is_not_found(me: Account) -> None:
    body = {"source_url": "https://example.com/a.mp3", "webhook_endpoint_id": str(uuid4())}
    assert "endpoint" in told(me.post("/v1/analyses", json=body), 404)


# --- idempotency ----------------------------------------------------------------------------------------------------


def test_the_same_key_gives_the_same_job_even_when_its_source_is_gone(me: Account, clip: bytes) -> None:
    offer = uploaded(me, clip)
    headers = {"Idempotency-Key": f"upload-{uuid4()}"}
    first = me.post("/v1/analyses", json={"storage_object_id": offer["id"]}, headers=headers).json()
    over(me, first["id"])
    second = me.post("/v1/analyses", json={"storage_object_id": offer["id"]}, headers=headers)

    assert second.status_code == 202
    assert second.json()["id"] == first["id"]
    assert (first["idempotent_replay"], second.json()["idempotent_replay"]) == (False, True)
    assert second.json()["status"] == "succeeded"
    other = me.post("/v1/analyses", json={"source_url": "https://example.com/b.mp3"}, headers=headers)
    assert "Idempotency-Key" in told(other, 409)


def test_of_eight_with_one_key_at_once_one_job_comes(me: Account, audio: Neighbour, clip: bytes) -> None:
    url, headers = audio.put("eight.wav", clip), {"Idempotency-Key": f"eight-{uuid4()}"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: me.post("/v1/analyses", json={"source_url": url}, headers=headers).json(), range(8))
        )
    assert len({answer["id"] for answer in answers}) == 1
    assert sorted(answer["idempotent_replay"] for answer in answers) == [False] + [True] * 7


# --- one job, two views ---------------------------------------------------------------------------------------------


def test_a_job_of_version_1_is_read_in_version_2(me: Account, audio: Neighbour, clip: bytes) -> None:
    job_id = me.post("/v1/analyze/url", json={"url": audio.put("v1.wav", clip)}).json()["job_id"]
    job = over(me, job_id)
    assert set(job) == ANALYSIS
    assert job["status"] == "succeeded"
    assert job["source_url"].endswith("/v1.wav")


def test_the_list_is_newest_first_and_goes_on_where_it_stopped(
    account: Register, audio: Neighbour, clip: bytes
) -> None:
    me = account()
    url = audio.put("list.wav", clip)
    ids = [analysed(me, source_url=url)["id"] for _ in range(5)]
    whole = me.get("/v1/analyses").json()
    assert [job["id"] for job in whole] == ids[::-1]
    assert all(set(job) == ANALYSIS for job in whole)

    seen, page = [], me.get("/v1/analyses", params={"limit": 2})
    while True:
        seen += [job["id"] for job in page.json()]
        if "link" not in page.headers:
            break
        page = me.get(page.links["next"]["url"])
    assert seen == ids[::-1]
    by_id = me.get("/v1/analyses", params={"before": ids[2]}).json()
    assert [job["id"] for job in by_id] == [ids[1], ids[0]]


@pytest.mark.parametrize(
    ("query", "where"),
    [({"limit": 0}, "limit"), ({"limit": 201}, "limit"), ({"limit": "x"}, "limit"), ({"before": "x"}, "before")],
)
def test_a_page_that_makes_no_sense_is_pointed_at(me: Account, query: dict[str, Any], where: str) -> None:
    assert pointed_at(me.get("/v1/analyses", params=query)) == ["query", where]


def test_the_list_does_not_go_on_from_anothers_job(
    me: Account, stranger: Account, audio: Neighbour, clip: bytes
) -> None:
    job = analysed(me, source_url=audio.put("cursor.wav", clip))
    assert pointed_at(stranger.get("/v1/analyses", params={"before": job["id"]})) == ["query", "before"]


# --- history --------------------------------------------------------------------------------------------------------


def test_the_history_of_a_job_is_told_from_its_own_events(me: Account, clip: bytes) -> None:
    job = analysed(me, storage_object_id=uploaded(me, clip)["id"], metadata={"secret plan": "42"})
    over(me, job["id"])

    def told_whole() -> Any:
        events = me.get(f"/v1/analyses/{job['id']}/events").json()
        return events if {"source.deleted", "report.drawn"} <= {event["event_type"] for event in events} else None

    events = eventually(told_whole, timeout=60)
    assert [event["event_type"] for event in events][:3] == [
        "analysis.requested",
        "analysis.started",
        "analysis.completed",
    ]
    for event in events:
        assert set(event) == {"created_at", "event_type", "id", "message", "metadata"}
        assert MOMENT.fullmatch(event["created_at"])
        assert str(UUID(event["id"])) == event["id"]
        assert event["message"].endswith(".")
        assert isinstance(event["metadata"], dict)
    assert events[0]["metadata"]["actor"].startswith("api_key:")
    assert "secret plan" not in json.dumps(events)


# --- cancelling -----------------------------------------------------------------------------------------------------


def test_a_running_job_is_cancelled_and_stays_so(me: Account, audio: Neighbour, clip: bytes) -> None:
    slow = audio.answer("cancel.wav", Reply(200, clip, {"Content-Type": "audio/wav"}, delay=1.5))
    job = analysed(me, source_url=slow)
    eventually(lambda: audio.received("cancel.wav"))
    for _ in range(2):
        answer = me.post(f"/v1/analyses/{job['id']}/cancel")
        assert answer.status_code == 200
        assert answer.json()["status"] == "cancelled"
        assert set(answer.json()) == ANALYSIS
    assert me.get(f"/v1/analysis/{job['id']}").json()["error"] == "The analysis was cancelled."
    again = analysed(me, source_url=audio.put("after-cancel.wav", clip))
    over(me, again["id"])
    kinds = [event["event_type"] for event in me.get(f"/v1/analyses/{job['id']}/events").json()]
    assert kinds.count("analysis.cancelled") == 1
    assert "analysis.completed" not in kinds


def test_what_is_over_cannot_be_cancelled(me: Account, audio: Neighbour, clip: bytes) -> None:
    job = analysed(me, source_url=audio.put("over.wav", clip))
    over(me, job["id"])
    assert "is over" in told(me.post(f"/v1/analyses/{job['id']}/cancel"), 409)
    assert me.get(f"/v1/analyses/{job['id']}").json()["status"] == "succeeded"


def test_when_many_cancel_while_it_completes_the_job_ends_once(me: Account, audio: Neighbour, clip: bytes) -> None:
    url = audio.put("race.wav", clip)
    for _ in range(4):
        job = analysed(me, source_url=url)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _, job=job: me.post(f"/v1/analyses/{job['id']}/cancel"), range(4)))
        over(me, job["id"])
        kinds = [event["event_type"] for event in me.get(f"/v1/analyses/{job['id']}/events").json()]
        ends = [kind for kind in kinds if kind in ("analysis.completed", "analysis.cancelled", "analysis.failed")]
        assert len(ends) == 1
        expected = 200 if ends == ["analysis.cancelled"] else 409
        assert {answer.status_code for answer in answers} == {expected}


# --- others ---------------------------------------------------------------------------------------------------------

OF_A_JOB = [
    ("GET", "/v1/analyses/{id}"),
    ("GET", "/v1/analyses/{id}/events"),
    ("GET", "/v1/analyses/{id}/result"),
    ("POST", "/v1/analyses/{id}/cancel"),
    ("POST", "/v1/analyses/{id}/webhook-deliveries"),
]


@pytest.mark.parametrize(("method", "path"), OF_A_JOB)
def test_anothers_job_is_as_absent_as_one_that_never_was(
    me: Account, stranger: Account, audio: Neighbour, clip: bytes, method: str, path: str
) -> None:
    job = analysed(me, source_url=audio.put("mine.wav", clip))
    theirs = stranger.request(method, path.format(id=job["id"]))
    never = stranger.request(method, path.format(id=uuid4()))
    assert told(theirs, 404) == told(never, 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *OF_A_JOB,
        ("POST", "/v1/storage-objects"),
        ("POST", "/v1/analyses"),
        ("GET", "/v1/analyses"),
        ("POST", "/v1/account/analyses"),
        ("GET", "/v1/account/analyses/{id}"),
        ("GET", "/v1/account/analyses/{id}/events"),
        ("GET", "/v1/account/analyses/{id}/result"),
    ],
)
def test_without_a_key_nothing_is_shown_or_done(client: httpx.Client, method: str, path: str) -> None:
    told(client.request(method, path.format(id=uuid4())), 401)


def test_an_api_key_is_no_session(me: Account) -> None:
    body = {"idempotency_key": "stringst", "storage_object_id": "string"}
    assert "session" in told(me.post("/v1/account/analyses", json=body), 403)
