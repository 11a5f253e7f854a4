"""The official client of the analysis API, as it comes from its registry, finds everything where it expects it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from beatlyze import Beatlyze, BeatlyzeError
from standardwebhooks import Webhook

from tests.journeys.kit import Account, Neighbour, Stack, clip_bytes, eventually


@pytest.fixture(scope="module")
def me(account: Callable[[], Account]) -> Account:
    """Somebody with a key."""
    return account()


@pytest.fixture
def beatlyze(stack: Stack, me: Account) -> Iterator[Beatlyze]:
    """The client, looking a little more often than it would."""
    with Beatlyze(me.key, base_url=stack.url, poll_interval=0.05) as client:
        yield client


def test_it_analyses_an_address(beatlyze: Beatlyze, audio: Neighbour, clip: bytes) -> None:
    result = beatlyze.analyze_url(audio.put("client.wav", clip))
    assert result["duration_seconds"] == 2.0
    assert {"bpm", "key", "energy", "mood_tags", "genre_suggestions"} <= set(result)


def test_it_analyses_a_file_and_its_webhook_is_signed(
    beatlyze: Beatlyze, me: Account, receiver: Neighbour, clip: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "grüße.wav"
    path.write_bytes(clip)
    result = beatlyze.analyze_file(path, webhook_url=receiver.answer("client", 200))
    assert result["duration_seconds"] == 2.0
    [post] = eventually(lambda: receiver.received("client"))
    message = Webhook(me.get("/v1/webhook-secret").json()["secret"]).verify(post.body, post.headers)
    assert message["data"]["result"] == result


def test_it_reads_a_job_in_short_and_in_full(beatlyze: Beatlyze, audio: Neighbour, clip: bytes) -> None:
    job = beatlyze.analyze_url(audio.put("client-full.wav", clip), wait=False)
    assert set(job) == {"job_id", "status"}
    eventually(lambda: beatlyze.get_analysis(job["job_id"])["status"] == "completed")
    short, full = beatlyze.get_analysis(job["job_id"]), beatlyze.get_analysis(job["job_id"], full=True)
    assert full["result"] == short["result"]
    assert isinstance(full["result"]["sections"], list)


def test_it_submits_a_batch_and_reads_its_usage(
    beatlyze: Beatlyze, audio: Neighbour, receiver: Neighbour, clip: bytes
) -> None:
    before = beatlyze.get_usage()
    assert {"month", "count", "limit", "tier"} <= set(before)
    url = audio.put("client-batch.wav", clip)
    jobs = beatlyze.analyze_batch([url, url, url], webhook_url=receiver.at("client-batch"))
    assert [job["status"] for job in jobs] == ["processing"] * 3
    assert beatlyze.get_usage()["count"] == before["count"] + 3
    eventually(lambda: len(receiver.received("client-batch")) == 3)


def test_its_idempotency_keys_hold(beatlyze: Beatlyze, tmp_path: Path, audio: Neighbour, clip: bytes) -> None:
    url, key = audio.put("client-once.wav", clip), uuid4().hex
    first = beatlyze.analyze_url(url, wait=False, idempotency_key=key)
    assert beatlyze.analyze_url(url, wait=False, idempotency_key=key)["job_id"] == first["job_id"]
    with pytest.raises(BeatlyzeError) as conflict:
        beatlyze.analyze_url(audio.put("client-twice.wav", clip), wait=False, idempotency_key=key)
    assert conflict.value.status_code == 409

    path = tmp_path / "once.wav"
    path.write_bytes(clip_bytes(1.0))
    uploaded = beatlyze.analyze_file(path, idempotency_key=uuid4().hex, wait=False)
    assert uploaded["job_id"] != first["job_id"]


def test_it_understands_our_refusals(stack: Stack, beatlyze: Beatlyze, audio: Neighbour, tmp_path: Path) -> None:
    with pytest.raises(BeatlyzeError) as unknown:
        beatlyze.get_analysis(str(uuid4()))
    assert (unknown.value.status_code, unknown.value.detail) == (404, "There is no analysis with this id.")

    with pytest.raises(BeatlyzeError) as private:
        beatlyze.analyze_url("http://10.0.0.1/song.mp3")
    assert private.value.status_code == 422
    assert private.value.detail[0]["loc"] == ["body", "url"]

    letter = tmp_path / "song.mp3"
    letter.write_text("This is a letter, not a song.")
    with pytest.raises(BeatlyzeError) as text:
        beatlyze.analyze_file(letter)
    assert text.value.status_code == 422

    with pytest.raises(BeatlyzeError) as failed:
        beatlyze.analyze_url(audio.answer("client-404", 404))
    assert failed.value.status_code == 500
    assert failed.value.detail.startswith("The server answered 404")

    with Beatlyze("bz_nobody", base_url=stack.url) as stranger, pytest.raises(BeatlyzeError) as nobody:
        stranger.get_usage()
    assert (nobody.value.status_code, nobody.value.detail) == (401, "Missing or invalid API key.")
