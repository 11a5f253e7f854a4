"""The analysis API, version 1, held to its document: every operation, every field, every refusal."""

from __future__ import annotations

import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest

from adapters.log.settings import Sealing
from commands.settings import Service
from tests.ears import sounds
from tests.journeys.kit import Account, Neighbour, Reply, Stack, clip_bytes, eventually, register

Register = Callable[[], Account]

#: The id of no analysis; the same in every test process, which must find the same tests.
NOBODYS = "3f0c5f6e-52c4-4b8e-9d33-0a6a1c1d9e55"

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(scope="module")
def me(account: Register) -> Account:
    """Somebody with a key."""
    return account()


@pytest.fixture(scope="module")
def frugal(stack: Stack) -> Iterator[httpx.Client]:
    """A door with a small quota and few demos."""
    settings: dict[str, Any] = {"monthly_analysis_limits": {"free": 5}, "demo_limit_per_hour": 3}
    with stack.door(**settings) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http


@pytest.fixture(scope="module")
def hurried(stack: Stack) -> Iterator[tuple[str, str]]:
    """Two doors that let a key through eight times a minute, together."""
    with stack.door(rate_limit_per_minute=8) as one, stack.door(rate_limit_per_minute=8) as two:
        yield one, two


def is_uuid(text: str) -> bool:
    return str(UUID(text)) == text


def told(answer: httpx.Response, status: int) -> str:
    """The sentence of a refusal with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["detail"]
    assert isinstance(body["detail"], str)
    return str(body["detail"])


def pointed_at(answer: httpx.Response) -> list[Any]:
    """Where the one mistake of a 422 is."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/json"
    [mistake] = answer.json()["detail"]
    assert set(mistake) == {"loc", "msg", "type", "input", "ctx"}
    assert isinstance(mistake["msg"], str)
    assert isinstance(mistake["type"], str)
    assert isinstance(mistake["ctx"], dict)
    where: list[Any] = mistake["loc"]
    return where


# --- register --------------------------------------------------------------------------------------------------------


def test_registering_answers_201_with_the_first_key(client: httpx.Client) -> None:
    email = f"new-{uuid4().hex}@example.com"
    answer = client.post("/v1/auth/register", json={"email": email})

    assert answer.status_code == 201
    body = answer.json()
    assert is_uuid(body["user_id"])
    assert is_uuid(body["workspace_id"])
    assert body["email"] == email
    assert body["email_verification_required"] is False
    assert re.fullmatch(r"bz_[0-9A-Za-z]{49}", body["api_key"])


def test_the_new_key_works_at_once(client: httpx.Client) -> None:
    for _ in range(5):
        assert register(client).get("/v1/usage").status_code == 200


def test_an_address_registers_once_however_it_is_written(client: httpx.Client, me: Account) -> None:
    assert "exists already" in told(client.post("/v1/auth/register", json={"email": me.email.upper()}), 409)


def test_of_two_who_register_one_address_at_once_one_is_registered(client: httpx.Client) -> None:
    email = f"race-{uuid4().hex}@example.com"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/auth/register", json={"email": email}), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body", "email"]),
        ({"email": None}, ["body", "email"]),
        ({"email": 5}, ["body", "email"]),
        ({"email": "nobody"}, ["body", "email"]),
        ({"email": "a b@example.com"}, ["body", "email"]),
        ({"email": "x" * 250 + "@example.com"}, ["body", "email"]),
        ([], ["body"]),
    ],
)
def test_what_is_no_address_does_not_register(client: httpx.Client, body: Any, where: list[str]) -> None:
    assert pointed_at(client.post("/v1/auth/register", json=body)) == where


def test_a_body_that_is_missing_or_not_json_is_pointed_at(client: httpx.Client) -> None:
    assert pointed_at(client.post("/v1/auth/register")) == ["body"]
    broken = client.post("/v1/auth/register", content=b"{", headers={"Content-Type": "application/json"})
    assert pointed_at(broken) == ["body"]


# --- who may ---------------------------------------------------------------------------------------------------------

PROTECTED = [
    ("POST", "/v1/analyze/url"),
    ("POST", "/v1/analyze/upload"),
    ("POST", "/v1/batch"),
    ("POST", "/v1/analyze/batch"),
    ("GET", f"/v1/analysis/{NOBODYS}"),
    ("GET", f"/v1/analysis/{NOBODYS}/full"),
    ("GET", f"/v1/analysis/{NOBODYS}/webhooks"),
    ("GET", "/v1/usage"),
    ("GET", "/v1/webhook-secret"),
    ("POST", "/v1/webhook-secret/rotate"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_a_key_that_works_nothing_is_done(client: httpx.Client, method: str, path: str, me: Account) -> None:
    for headers in (
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "bz_wrong"},
        {"X-API-Key": me.key[:-1]},
        {"X-API-Key": me.key.swapcase()},
        {"X-API-Key": "x" * 5000},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {me.key}x"},
        {"Authorization": f"Basic {me.key}"},
    ):
        answer = client.request(method, path, headers=headers)
        assert told(answer, 401) == "Missing or invalid API key."
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_key_is_accepted_in_both_headers(client: httpx.Client, me: Account) -> None:
    for headers in (
        {"X-API-Key": me.key},
        {"Authorization": f"Bearer {me.key}"},
        {"authorization": f"bearer {me.key}"},
    ):
        assert client.get("/v1/usage", headers=headers).status_code == 200


def test_where_verification_is_required_a_key_waits_for_it(strict: httpx.Client) -> None:
    http = strict
    answer = http.post("/v1/auth/register", json={"email": f"unproved-{uuid4().hex}@example.com"}).json()
    assert answer["email_verification_required"] is True
    headers = {"X-API-Key": answer["api_key"]}
    for method, path in PROTECTED:
        assert "Verify your email" in told(http.request(method, path, headers=headers), 403)

    proof = {"challenge_id": answer["challenge_id"], "code": answer["dev_code"]}
    wrong = {**proof, "code": f"{(int(proof['code']) + 1) % 1_000_000:06d}"}
    assert pointed_at(http.post("/v1/auth/verify-email", json=wrong)) == ["body"]
    assert "Verify" in told(http.get("/v1/usage", headers=headers), 403)

    right = http.post("/v1/auth/verify-email", json=proof)
    assert (right.status_code, right.json()) == (200, {"verified": True})
    assert http.get("/v1/usage", headers=headers).status_code == 200
    assert pointed_at(http.post("/v1/auth/verify-email", json=proof)) == ["body"], "a code works once"


def test_guessing_codes_ends_soon(strict: httpx.Client) -> None:
    http = strict
    answer = http.post("/v1/auth/register", json={"email": f"guessed-{uuid4().hex}@example.com"}).json()
    code = int(answer["dev_code"])
    for guess in range(1, 6):
        wrong = {"challenge_id": answer["challenge_id"], "code": f"{(code + guess) % 1_000_000:06d}"}
        assert http.post("/v1/auth/verify-email", json=wrong).status_code == 422
    right = {"challenge_id": answer["challenge_id"], "code": answer["dev_code"]}
    assert "Too many wrong codes" in told(http.post("/v1/auth/verify-email", json=right), 429)


@pytest.mark.parametrize("challenge_id", ["nobody", NOBODYS, "\0"])
def test_a_challenge_that_was_never_issued_cannot_be_passed(client: httpx.Client, challenge_id: str) -> None:
    answer = client.post("/v1/auth/verify-email", json={"challenge_id": challenge_id, "code": "123456"})
    assert "no such challenge" in told(answer, 404)


# --- submit and read -------------------------------------------------------------------------------------------------

#: What the document shows of a result, and what may stand there; every other field is an addition.
RESULT: dict[str, type | tuple[type, ...]] = {
    "bpm": (float, int),
    "bpm_confidence": (float, int),
    "key": str,
    "scale": str,
    "key_notation": str,
    "key_confidence": (float, int),
    "loudness_lufs": (float, int),
    "duration_seconds": (float, int),
    "time_signature": int,
    "energy": (float, int),
    "danceability": (float, int),
    "valence": (float, int),
    "mood_tags": list,
    "genre_suggestions": list,
    "genre_confidence": (float, int),
    "genre_taxonomy": str,
    "genre_review_recommended": bool,
    "genre_review_code": (str, type(None)),
    "sections": list,
}
SHARES = [
    "bpm_confidence",
    "key_confidence",
    "energy",
    "danceability",
    "valence",
    "genre_confidence",
]


@pytest.fixture(scope="module")
def song() -> bytes:
    """Twelve seconds with a beat and a key, as MP3."""
    return encoded("mp3", "libmp3lame", seconds=12)


def encoded(suffix: str, codec: str, *, seconds: float = 3, rate: int = 44_100) -> bytes:
    """Thumps at 120 beats a minute over two chords, in this container and codec."""
    beat = sounds.clicks(120, seconds, rate=rate)
    harmony = np.concatenate([sounds.chord(name, seconds / 2, rate=rate) for name in ("Am", "F")])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"song.{suffix}"
        return sounds.encode(path, 0.6 * beat + harmony, codec, rate=rate).read_bytes()


def accepted(answer: httpx.Response) -> str:
    """The job of a 202."""
    assert answer.status_code == 202, answer.text
    body = answer.json()
    # Whoever asks again under the same key is told how the job stands by then.
    stands = {"processing", "completed", "failed"} if body.get("idempotent_replay") else {"processing"}
    assert body["status"] in stands
    assert is_uuid(body["job_id"])
    return str(body["job_id"])


@pytest.fixture(scope="module")
def heard(me: Account, audio: Neighbour, song: bytes) -> dict[str, Any]:
    """A song, handed in by its address and analysed."""
    return me.finished(accepted(me.post("/v1/analyze/url", json={"url": audio.put("song.mp3", song, "audio/mpeg")})))


def test_a_completed_job_shows_the_documented_fields(heard: dict[str, Any]) -> None:
    assert set(heard) == {"job_id", "status", "result", "error", "created_at", "completed_at"}
    assert heard["status"] == "completed"
    assert heard["error"] is None
    assert MOMENT.fullmatch(heard["created_at"])
    assert MOMENT.fullmatch(heard["completed_at"])
    assert heard["created_at"] <= heard["completed_at"]


@pytest.mark.parametrize("name", RESULT)
def test_every_documented_field_of_a_result_is_there_with_its_type(heard: dict[str, Any], name: str) -> None:
    assert name in heard["result"]
    assert isinstance(heard["result"][name], RESULT[name])
    if RESULT[name] == (float, int) or RESULT[name] is int:
        assert not isinstance(heard["result"][name], bool)


def test_a_result_says_what_the_song_is(heard: dict[str, Any]) -> None:
    result = heard["result"]
    assert result["bpm"] == pytest.approx(120, rel=0.04)
    assert (result["key"], result["scale"]) in {("A", "minor"), ("C", "major"), ("F", "major"), ("D", "minor")}
    assert result["key_notation"] == result["key"] + ("m" if result["scale"] == "minor" else "")
    assert result["duration_seconds"] == pytest.approx(12, abs=0.1)
    assert -40 < result["loudness_lufs"] < 0
    assert result["genre_taxonomy"] == "beatlyze_broad_6_v1"
    for name in SHARES:
        assert 0 <= result[name] <= 1, name
    assert all(isinstance(tag, str) for tag in result["mood_tags"] + result["genre_suggestions"])
    assert len(result["genre_suggestions"]) >= 1


def test_the_full_view_adds_the_detail_and_nothing_else(me: Account, heard: dict[str, Any]) -> None:
    answer = me.get(f"/v1/analysis/{heard['job_id']}/full")
    assert answer.status_code == 200
    body = answer.json()
    detail = body.pop("detail")
    assert body == heard
    assert len(detail["beats"]) > 15
    for section in body["result"]["sections"]:
        assert {"start", "end", "duration", "label", "energy", "loudness", "key", "confidence"} <= set(section)


def test_until_a_job_is_over_it_says_so(me: Account, audio: Neighbour) -> None:
    url = audio.answer("slow.wav", Reply(200, clip_bytes(), delay=1.5))
    job_id = accepted(me.post("/v1/analyze/url", json={"url": url}))

    for path in (f"/v1/analysis/{job_id}", f"/v1/analysis/{job_id}/full"):
        body = me.get(path).json()
        assert body["job_id"] == job_id
        assert body["status"] == "processing"
        assert body["result"] is body["error"] is body["completed_at"] is None
        assert MOMENT.fullmatch(body["created_at"])
    assert me.finished(job_id)["status"] == "completed"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404),
        Reply(200, b"<html>this is no music</html>", {"Content-Type": "text/html"}),
        Reply(200, b""),
        Reply(302, b"", {"Location": "http://10.0.0.1/song.mp3"}),
        Reply(200, clip_bytes(1.0)[:60]),
    ],
    ids=["not there", "a page", "empty", "redirected inwards", "cut short"],
)
def test_what_cannot_be_analysed_ends_as_failed_with_a_sentence(me: Account, audio: Neighbour, reply: Reply) -> None:
    url = audio.answer(f"bad-{uuid4().hex}", reply)
    job = me.finished(accepted(me.post("/v1/analyze/url", json={"url": url})))

    assert job["status"] == "failed"
    assert job["result"] is None
    assert MOMENT.fullmatch(job["completed_at"])
    assert re.fullmatch(r"[A-Z].{10,200}\.", job["error"]), job["error"]
    full = me.get(f"/v1/analysis/{job['job_id']}/full").json()
    assert full["detail"] is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "song.mp3",
        "ftp://example.com/song.mp3",
        "file:///etc/passwd",
        "http://",
        "http://user:word@example.com/song.mp3",
        "http://example.com:22/song.mp3",
        "http://10.0.0.1/song.mp3",
        "http://172.16.0.1/song.mp3",
        "http://192.168.0.1/song.mp3",
        "http://100.64.0.1/song.mp3",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.2/song.mp3",
        "http://0.0.0.0/song.mp3",
        "http://2130706433/song.mp3",
        "http://0x7f.1/song.mp3",
        "http://[::1]/song.mp3",
        "http://[::ffff:10.0.0.1]/song.mp3",
        "http://[fd00::1]/song.mp3",
        "http://[64:ff9b::a00:1]/song.mp3",
        "http://example.com/" + "x" * 2048,
        "http://exa mple.com/",
        5,
        None,
    ],
)
def test_an_address_we_would_not_connect_to_is_refused(me: Account, url: Any) -> None:
    good = "https://example.com/song.mp3"
    assert pointed_at(me.post("/v1/analyze/url", json={"url": url})) == ["body", "url"]
    assert pointed_at(me.post("/v1/demo/analyze/url", json={"url": url})) == ["body", "url"]
    batch = {"items": [{"url": good}, {"url": url}]}
    assert pointed_at(me.post("/v1/batch", json=batch)) == ["body", "items", 1, "url"]
    if url is not None:
        webhook = {"url": good, "webhook_url": url}
        assert pointed_at(me.post("/v1/analyze/url", json=webhook)) == ["body", "webhook_url"]


def test_an_upload_may_name_only_an_address_that_we_would_post_to(me: Account, clip: bytes) -> None:
    form = {"webhook_url": "http://10.0.0.1/"}
    answer = me.post("/v1/analyze/upload", files={"file": ("a.wav", clip)}, data=form)
    assert pointed_at(answer) == ["body", "webhook_url"]


# --- another's job ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["", "/full", "/webhooks"])
def test_another_workspace_s_job_is_not_found(account: Register, heard: dict[str, Any], view: str) -> None:
    answer = account().get(f"/v1/analysis/{heard['job_id']}{view}")
    assert told(answer, 404) == "There is no analysis with this id."


@pytest.mark.parametrize("view", ["", "/full", "/webhooks"])
@pytest.mark.parametrize("job_id", ["nope", NOBODYS, "%00", "x" * 4000, "..%2f", "%F0%9F%8E%B5"])
def test_a_job_that_never_was_is_not_found(me: Account, job_id: str, view: str) -> None:
    assert told(me.get(f"/v1/analysis/{job_id}{view}"), 404) == "There is no analysis with this id."


def test_what_is_not_a_route_is_told_in_the_same_shape(me: Account) -> None:
    told(me.get("/v1/nothing"), 404)
    answer = me.get("/v1/analyze/url")
    told(answer, 405)
    assert "POST" in answer.headers["allow"]


# --- uploads ---------------------------------------------------------------------------------------------------------

CONTAINERS = [
    ("mp3", "libmp3lame"),
    ("wav", "pcm_s16le"),
    ("flac", "flac"),
    ("ogg", "libopus"),
    ("aac", "aac"),
    ("m4a", "aac"),
    ("aiff", "pcm_s16be"),
]


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_every_documented_kind_of_file_is_heard_whatever_its_name(me: Account, suffix: str, codec: str) -> None:
    content = encoded(suffix, codec, rate=48_000)
    job = me.finished(accepted(me.post("/v1/analyze/upload", files={"file": ("recording.txt", content, "text/plain")})))
    assert job["status"] == "completed", job
    assert job["result"]["duration_seconds"] == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize(
    "content",
    [b"", b"This is a letter, not a song.\n" * 100, b"\0" * 5000, b"%PDF-1.7\n" + b"x" * 500, b"\x89PNG\r\n\x1a\n" * 9],
    ids=["empty", "text", "zeros", "pdf", "png"],
)
def test_a_file_that_is_not_audio_is_refused_whatever_its_name(me: Account, content: bytes) -> None:
    answer = me.post("/v1/analyze/upload", files={"file": ("song.mp3", content, "audio/mpeg")})
    assert pointed_at(answer) == ["body", "file"]


def test_an_upload_without_a_file_is_refused(me: Account) -> None:
    assert pointed_at(me.post("/v1/analyze/upload")) == ["body", "file"]
    assert pointed_at(me.post("/v1/analyze/upload", json={})) == ["body", "file"]
    nothing = me.post("/v1/analyze/upload", files={"webhook_url": (None, "https://example.com/")})
    assert pointed_at(nothing) == ["body", "file"]


def test_a_damaged_form_is_refused(me: Account) -> None:
    answer = me.post(
        "/v1/analyze/upload",
        content=b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF',
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 422
    two = me.post("/v1/analyze/upload", files=[("file", ("a.wav", clip_bytes())), ("file", ("b.wav", clip_bytes()))])
    assert pointed_at(two) == ["body"]


def test_half_a_song_is_still_analysed_or_refused_in_words(me: Account, song: bytes) -> None:
    job = me.finished(accepted(me.post("/v1/analyze/upload", files={"file": ("half.mp3", song[: len(song) // 2])})))
    assert job["status"] == "completed", job
    assert 5 < job["result"]["duration_seconds"] < 7


def test_a_song_that_is_all_header_fails_in_words(me: Account) -> None:
    job = me.finished(accepted(me.post("/v1/analyze/upload", files={"file": ("a.wav", clip_bytes()[:44])})))
    assert job["status"] == "failed"
    assert re.fullmatch(r"[A-Z].{10,200}\.", job["error"]), job["error"]


MEGABYTE = 1024 * 1024


class _Form:
    """A form with one large file, made while it is sent."""

    boundary = "4c7f1d0d"

    def __init__(self, size: int) -> None:
        self._size = size
        self._head = (
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
        )
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": f"multipart/form-data; boundary={self.boundary}"}

    def __iter__(self) -> Iterator[bytes]:
        # It says it is a WAV and holds no samples that could be heard, so that it costs nothing once it is there.
        start = b"RIFF\xff\xff\xff\xffWAVEjunk"
        yield self._head + start
        left = self._size - len(start)
        while left > 0:
            yield b"j" * min(left, MEGABYTE // 4)
            left -= MEGABYTE // 4
        yield self._tail


def test_fifty_megabytes_pass_and_one_byte_more_does_not_and_neither_is_held_in_memory(
    stack: Stack, me: Account
) -> None:
    with stack.doorway() as process, httpx.Client(base_url=process.settings[Service].url, timeout=60) as http:
        door = Account(http, me.email, me.user_id, me.workspace_id, me.key)
        # Warm, so that what is measured is the uploads and not the imports.
        accepted(door.post("/v1/analyze/upload", files={"file": ("a.wav", clip_bytes())}))
        before = process.memory_bytes
        for _ in range(2):
            whole = _Form(50 * MEGABYTE)
            accepted(door.post("/v1/analyze/upload", content=iter(whole), headers=whole.headers))
            larger = _Form(50 * MEGABYTE + 1)
            answer = door.post("/v1/analyze/upload", content=iter(larger), headers=larger.headers)
            assert "larger than" in told(answer, 413)
        grown = process.memory_bytes - before
    assert grown < 40 * MEGABYTE, f"{grown / MEGABYTE:.0f} MB more"


def test_a_file_announced_as_too_large_is_refused_before_it_is_stored(me: Account) -> None:
    body = b"".join(_Form(51 * MEGABYTE))
    told(me.post("/v1/analyze/upload", content=body, headers=_Form(0).headers), 413)


# --- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/analyze/batch"])
def test_a_batch_is_one_job_for_each_item_in_their_order(account: Register, audio: Neighbour, path: str) -> None:
    mine = account()
    lengths = [1.0, 2.0, 3.0]
    urls = [audio.put(f"batch-{seconds}.wav", clip_bytes(seconds)) for seconds in lengths]
    answer = mine.post(path, json={"items": [{"url": url} for url in urls]})

    assert answer.status_code == 202
    jobs = answer.json()["jobs"]
    assert all(set(job) == {"job_id", "status"} and job["status"] == "processing" for job in jobs)
    assert len({job["job_id"] for job in jobs}) == 3
    durations = [mine.finished(job["job_id"])["result"]["duration_seconds"] for job in jobs]
    assert durations == lengths
    assert mine.get("/v1/usage").json()["count"] == 3


def test_a_request_sent_again_is_told_how_its_job_stands_by_now(account: Register, audio: Neighbour) -> None:
    mine, once, in_a_batch = account(), key(), key()
    good = {"url": audio.put("good-again.wav", clip_bytes(1.0))}
    bad = {"url": audio.put("bad-again.wav", b"this is no recording")}
    job_id = accepted(mine.post("/v1/analyze/url", json=good, headers=once))
    jobs = mine.post("/v1/batch", json={"items": [good, bad]}, headers=in_a_batch).json()["jobs"]
    assert [job["status"] for job in jobs] == ["processing", "processing"]
    for each in (job_id, *(job["job_id"] for job in jobs)):
        mine.finished(each)

    again = mine.post("/v1/analyze/url", json=good, headers=once)
    assert (again.status_code, again.json()) == (
        202,
        {"job_id": job_id, "status": "completed", "idempotent_replay": True},
    )
    batch = mine.post("/v1/batch", json={"items": [good, bad]}, headers=in_a_batch)
    assert [job["status"] for job in batch.json()["jobs"]] == ["completed", "failed"]
    assert [job["job_id"] for job in batch.json()["jobs"]] == [job["job_id"] for job in jobs]


def test_a_batch_tells_each_item_s_webhook(account: Register, audio: Neighbour, receiver: Neighbour) -> None:
    mine, url = account(), audio.put("batch-hook.wav", clip_bytes(1.0))
    items = [{"url": url, "webhook_url": receiver.at("batch-a")}, {"url": url, "webhook_url": receiver.at("batch-b")}]
    jobs = mine.post("/v1/batch", json={"items": items}).json()["jobs"]
    for job, name in zip(jobs, ("batch-a", "batch-b"), strict=True):
        [post] = eventually(lambda name=name: receiver.received(name))  # type: ignore[misc]  # a lambda with a default
        assert post.json["data"]["job_id"] == job["job_id"]


@pytest.mark.parametrize(
    ("items", "where"),
    [
        ([], ["body", "items"]),
        ([{"url": "https://example.com/a.mp3"}] * 11, ["body", "items"]),
        ([{"url": "https://example.com/a.mp3"}] * 200, ["body", "items"]),
        ([{"url": "https://example.com/a.mp3"}, {}], ["body", "items", 1, "url"]),
        ([{"url": "https://example.com/a.mp3"}, 5], ["body", "items", 1]),
        ("https://example.com/a.mp3", ["body", "items"]),
    ],
    ids=["none", "eleven", "two hundred", "no url", "not an object", "not a list"],
)
def test_a_batch_has_one_to_ten_urls(me: Account, items: Any, where: list[Any]) -> None:
    assert pointed_at(me.post("/v1/batch", json={"items": items})) == where


def test_of_a_batch_with_a_mistake_nothing_is_accepted(account: Register) -> None:
    mine = account()
    items = [{"url": "https://example.com/a.mp3"}, {"url": "https://10.0.0.1/b.mp3"}]
    assert mine.post("/v1/batch", json={"items": items}).status_code == 422
    assert mine.get("/v1/usage").json()["count"] == 0


# --- the demo --------------------------------------------------------------------------------------------------------


def test_the_demo_needs_no_account_and_is_read_with_its_token_alone(
    client: httpx.Client, me: Account, audio: Neighbour
) -> None:
    url = audio.put("demo.wav", clip_bytes(1.0))
    answer = client.post("/v1/demo/analyze/url", json={"url": url})
    assert answer.status_code == 202
    body = answer.json()
    assert body["status"] == "processing"
    assert is_uuid(body["job_id"])
    assert MOMENT.fullmatch(body["expires_at"])

    def over() -> dict[str, Any] | None:
        read = client.get(body["poll_url"])
        assert read.status_code == 200, read.text
        found: dict[str, Any] = read.json()
        return found if found["status"] != "processing" else None

    job = eventually(over)
    assert job is not None
    assert (job["job_id"], job["status"]) == (body["job_id"], "completed")

    path = f"/v1/demo/analysis/{body['job_id']}"
    assert client.get(path, headers={"Authorization": f"Bearer {body['token']}"}).status_code == 200
    for strange in (path, f"{path}?token=", f"{path}?token=x", f"{path}?token={body['token'][:-1]}"):
        assert told(client.get(strange), 404) == "There is no analysis with this id."
    other = client.post("/v1/demo/analyze/url", json={"url": url}).json()
    assert client.get(f"{path}?token={other['token']}").status_code == 404
    assert me.get(f"/v1/analysis/{body['job_id']}").status_code == 404


def test_the_demo_is_limited_by_address(frugal: httpx.Client) -> None:
    http = frugal
    # Other tests count under this address too, in this hour.
    answers = [http.post("/v1/demo/analyze/url", json={"url": "http://10.0.0.1"}) for _ in range(4)]
    assert told(answers[-1], 429) == "Rate limit exceeded. 3 requests per 3600s."
    assert 0 < int(answers[-1].headers["x-ratelimit-reset"]) <= 3600


# --- usage and its limits --------------------------------------------------------------------------------------------


def test_usage_counts_what_was_accepted(account: Register, audio: Neighbour, clip: bytes) -> None:
    mine = account()
    empty = mine.get("/v1/usage")
    assert empty.status_code == 200
    usage = empty.json()
    assert re.fullmatch(r"\d{4}-\d\d", usage["month"])
    assert (usage["count"], usage["tier"]) == (0, "free")
    assert usage["remaining"] == usage["limit"]
    for name in ("local_analysis_credits", "local_analysis_jobs", "provider_enrichment_jobs"):
        assert isinstance(usage[name], int)
    assert usage["workspace_id"] == mine.workspace_id

    mine.post("/v1/analyze/upload", files={"file": ("a.wav", clip)})
    mine.post("/v1/analyze/url", json={"url": audio.put("usage.wav", clip)})
    mine.post("/v1/batch", json={"items": [{"url": audio.at("usage.wav")}] * 2})
    mine.post("/v1/analyze/url", json={"url": "nonsense"})
    now = mine.get("/v1/usage").json()
    assert (now["count"], now["remaining"]) == (4, now["limit"] - 4)


def test_the_monthly_quota_holds_under_a_rush_and_batches_pass_whole_or_not_at_all(frugal: httpx.Client) -> None:
    http = frugal
    url = "https://example.com/a.mp3"
    mine = register(http)
    key = {"Idempotency-Key": "the-first"}
    first = accepted(mine.post("/v1/analyze/url", json={"url": url}, headers=key))
    too_many = mine.post("/v1/batch", json={"items": [{"url": url}] * 5})
    assert told(too_many, 429) == "Monthly quota exceeded. 5 analyses per month."
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: mine.post("/v1/analyze/url", json={"url": url}), range(10)))
    assert sorted(answer.status_code for answer in answers) == [202] * 4 + [429] * 6
    usage = mine.get("/v1/usage").json()
    assert (usage["count"], usage["limit"], usage["remaining"]) == (5, 5, 0)
    again = mine.post("/v1/analyze/url", json={"url": url}, headers=key)
    assert accepted(again) == first, "what was accepted before needs no room"


def test_the_rate_limit_is_told_before_and_when_it_is_reached(hurried: tuple[str, str]) -> None:
    with httpx.Client(base_url=hurried[0], timeout=30) as http:
        mine, other = register(http), register(http)
        passed = [mine.get("/v1/usage") for _ in range(8)]
        assert [answer.status_code for answer in passed] == [200] * 8
        assert [int(answer.headers["x-ratelimit-remaining"]) for answer in passed] == [7, 6, 5, 4, 3, 2, 1, 0]
        assert {answer.headers["x-ratelimit-limit"] for answer in passed} == {"8"}

        refused = mine.get("/v1/usage")
        assert refused.status_code == 429
        assert refused.json() == {"detail": "Rate limit exceeded. 8 requests per 60s."}
        assert refused.headers["x-ratelimit-limit"] == "8"
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert 1 <= int(refused.headers["x-ratelimit-reset"]) <= 60, "seconds left, not a date"
        assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"]
        assert mine.get("/v1/analysis/nope").status_code == 429, "one budget for all routes of a key"
        assert other.get("/v1/usage").status_code == 200


def test_the_rate_limit_holds_over_several_processes_and_a_rush(hurried: tuple[str, str]) -> None:
    with httpx.Client(timeout=30) as http, ThreadPoolExecutor(12) as pool:
        email = f"hurried-{uuid4().hex}@example.com"
        key = http.post(f"{hurried[0]}/v1/auth/register", json={"email": email}).json()["api_key"]
        ask = [f"{url}/v1/usage" for _ in range(20) for url in hurried]
        answers = list(pool.map(lambda url: http.get(url, headers={"X-API-Key": key}), ask))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) <= 8


# --- the same key twice ----------------------------------------------------------------------------------------------


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


def test_a_request_sent_twice_under_one_key_is_one_job(account: Register, audio: Neighbour) -> None:
    mine, once = account(), key()
    body = {"url": audio.put("once.wav", clip_bytes(1.0))}
    first = mine.post("/v1/analyze/url", json=body, headers=once)
    second = mine.post("/v1/analyze/url", json=body, headers=once)

    assert accepted(first) == accepted(second)
    assert "idempotent_replay" not in first.json()
    assert second.json()["idempotent_replay"] is True
    mine.finished(accepted(first))
    assert accepted(mine.post("/v1/analyze/url", json=body, headers=once)) == accepted(first), "also when it is over"
    assert mine.get("/v1/usage").json()["count"] == 1
    assert len(audio.received("once.wav")) == 1


def test_sent_many_times_at_once_it_is_one_job_and_one_answer_is_the_first(account: Register, audio: Neighbour) -> None:
    mine, once = account(), key()
    body = {"url": audio.put("at-once.wav", clip_bytes(1.0))}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: mine.post("/v1/analyze/url", json=body, headers=once), range(16)))
    assert len({accepted(answer) for answer in answers}) == 1
    assert sum("idempotent_replay" not in answer.json() for answer in answers) == 1
    assert mine.get("/v1/usage").json()["count"] == 1


def test_a_file_sent_many_times_at_once_is_stored_and_analysed_once(
    stack: Stack, account: Register, clip: bytes
) -> None:
    mine, once = account(), key()
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(
                lambda name: mine.post("/v1/analyze/upload", files={"file": (name, clip)}, headers=once),
                [f"{number}.wav" for number in range(6)],
            )
        )
    [job_id] = {accepted(answer) for answer in answers}
    assert mine.finished(job_id)["status"] == "completed"
    eventually(lambda: not list(stack.objects(f"uploads/{mine.workspace_id}/")))
    other_file = mine.post("/v1/analyze/upload", files={"file": ("a.wav", clip_bytes(1.0))}, headers=once)
    assert "another request" in told(other_file, 409)
    assert mine.get("/v1/usage").json()["count"] == 1
    assert not list(stack.objects(f"uploads/{mine.workspace_id}/")), "what no job needs is not kept"


def test_a_batch_sent_twice_names_the_same_jobs(account: Register) -> None:
    mine, once = account(), key()
    body = {"items": [{"url": f"https://example.com/{name}.mp3"} for name in "abc"]}
    first = mine.post("/v1/batch", json=body, headers=once).json()["jobs"]
    second = mine.post("/v1/batch", json=body, headers=once).json()["jobs"]
    assert [job["job_id"] for job in first] == [job["job_id"] for job in second]
    assert mine.get("/v1/usage").json()["count"] == 3


def test_a_key_with_another_body_is_a_conflict(account: Register) -> None:
    mine, once = account(), key()
    url = "https://example.com/a.mp3"
    accepted(mine.post("/v1/analyze/url", json={"url": url}, headers=once))
    for other in (
        {"url": "https://example.com/b.mp3"},
        {"url": url, "webhook_url": "https://example.com/hook"},
    ):
        assert "another request" in told(mine.post("/v1/analyze/url", json=other, headers=once), 409)
    assert mine.get("/v1/usage").json()["count"] == 1


def test_a_key_belongs_to_one_workspace_and_one_route(account: Register) -> None:
    mine, other, once = account(), account(), key()
    body = {"url": "https://example.com/a.mp3"}
    batch = {"items": [body]}
    jobs = [
        accepted(mine.post("/v1/analyze/url", json=body, headers=once)),
        accepted(other.post("/v1/analyze/url", json=body, headers=once)),
        mine.post("/v1/batch", json=batch, headers=once).json()["jobs"][0]["job_id"],
    ]
    assert len(set(jobs)) == 3


@pytest.mark.parametrize("bad", ["", "x" * 256, "tab\there"])
def test_a_key_that_is_none_is_refused(me: Account, bad: str) -> None:
    answer = me.post("/v1/analyze/url", json={"url": "https://example.com/"}, headers={"Idempotency-Key": bad})
    assert pointed_at(answer) == ["header", "Idempotency-Key"]


# --- and nothing broke -----------------------------------------------------------------------------------------------


def test_through_all_of_this_nothing_broke_and_no_secret_was_logged(stack: Stack, me: Account) -> None:
    log = stack.log
    assert "request.broken" not in log
    assert "role.failed" not in log
    assert me.key not in log
    assert me.email not in log
    assert stack.settings[Sealing].secret_key.reveal() not in log


# --- many uploads at once --------------------------------------------------------------------------------------------


@contextmanager
def uploading(url: str, mine: Account, file: bytes) -> Iterator[socket.socket]:
    """A connection on which half of an upload has been sent."""
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + file + b"\r\n--b--\r\n"
    head = (
        "POST /v1/analyze/upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
        f"X-API-Key: {mine.key}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(form)}\r\n\r\n"
    )
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as connection:
        connection.sendall(head.encode())
        assert b" 100 " in connection.recv(1000), "the service begins to read"
        connection.sendall(form[:-20_000])
        yield connection
        connection.sendall(form[-20_000:])
        assert b" 202 " in connection.recv(1000)


def test_more_uploads_than_a_process_takes_at_once_are_told_to_come_again(stack: Stack, account: Register) -> None:
    mine, yours, theirs, clip = account(), account(), account(), clip_bytes(2.0)
    with stack.door(uploads_at_once_max=2) as url, httpx.Client(base_url=url, timeout=30) as http:

        def upload(by: Account = mine) -> httpx.Response:
            return http.post("/v1/analyze/upload", files={"file": ("a.wav", clip)}, headers=by.headers)

        with uploading(url, yours, clip):
            refused = eventually(lambda: answer if (answer := upload(yours)).status_code != 202 else None)
            assert refused is not None
            assert "by all or by you" in told(refused, 503)
            assert upload().status_code == 202, "what one workspace may not have others may"

        with uploading(url, yours, clip), uploading(url, theirs, clip):
            refused = eventually(lambda: answer if (answer := upload()).status_code != 202 else None)
            assert refused is not None
            assert "Try again in 5 seconds" in told(refused, 503)
            assert refused.headers["retry-after"] == "5"
            assert http.get("/v1/usage", headers=mine.headers).status_code == 200, "and all else is served"
        assert upload().status_code == 202

        with socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0)) as gone:
            gone.sendall(
                b"POST /v1/analyze/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\nX-API-Key: " + mine.key.encode() + b"\r\n\r\n--b\r\n"
            )
        with uploading(url, yours, clip):
            assert eventually(lambda: upload().status_code == 202), "whoever goes away leaves their place to others"
