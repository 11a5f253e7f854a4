"""A provider elsewhere: what it is asked, what it says, and what is believed of that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import httpx
import pytest

from commands.beats.settings import Provider
from tests.beats import documented
from tests.beats.documented import conforms
from tests.beats.little_suno import LittleSuno, Task, little_suno
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack, clip_bytes, eventually

Json = dict[str, Any]
CALLBACK = "/api/callbacks/suno"


@pytest.fixture(scope="module")
def suno(stack: Stack, clip: bytes) -> Iterator[LittleSuno]:
    """The provider that the running service has an account with."""
    url, key = str(stack.settings[Provider].suno_api_url), stack.settings[Provider].suno_api_key.reveal()
    with little_suno(url, key, audio=clip, wav=clip_bytes(1.0)) as running:
        yield running


def got(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


@dataclass
class Client:
    """Somebody who has beats made elsewhere."""

    who: Visitor
    suno: LittleSuno

    def begun(self) -> str:
        """A beat that the provider is asked for."""
        body = {"categoryName": "Trap - Dark/Aggressive", "provider": "sunoapi"}
        answer = got(self.who.post("/api/generate/beat", body))
        conforms(answer, documented.FULL)
        return str(answer["beat"]["id"])

    def beat(self, beat_id: str) -> Json:
        """The beat as it is now."""
        found: Json = got(self.who.get(f"/api/beats/{beat_id}"))
        return found

    def taken(self, beat_id: str) -> Task:
        """The one task of a beat, once it was taken and its version says so."""
        [task] = eventually(lambda: self.suno.of(beat_id), timeout=30)
        eventually(lambda: self.beat(beat_id)["versions"][0]["sunoTaskId"] == task.id, timeout=30)
        return task

    def over(self, beat_id: str, status: str = "completed") -> Json:
        """The beat once it is so."""
        eventually(lambda: self.beat(beat_id)["generationStatus"] == status, timeout=30)
        return self.beat(beat_id)

    def both(self, beat_id: str) -> Json:
        """The beat once both tracks are there."""
        eventually(lambda: len(self.over(beat_id)["versions"]) == 2, timeout=30)
        return self.beat(beat_id)


@pytest.fixture
def client_of(client: httpx.Client, suno: LittleSuno) -> Client:
    """Somebody new."""
    return Client(sign_in(client), suno)


def test_it_is_asked_for_what_the_template_says_and_told_where_to_call(client_of: Client, stack: Stack) -> None:
    beat_id = client_of.begun()
    task = client_of.taken(beat_id)

    assert set(task.asked) == {"prompt", "style", "title", "customMode", "instrumental", "model", "callBackUrl"}
    assert "808" in task.asked["prompt"]
    assert task.asked["style"].startswith("Trap, Dark, Aggressive")
    assert task.callback.startswith(f"{stack.url}{CALLBACK}?")
    assert client_of.beat(beat_id)["versions"][0]["status"] == "processing"
    task.status = "SUCCESS"
    client_of.over(beat_id)


def test_without_any_callback_it_is_asked_until_it_is_done(client_of: Client) -> None:
    beat_id = client_of.begun()
    task = client_of.taken(beat_id)
    for status in ("TEXT_SUCCESS", "FIRST_SUCCESS"):
        task.status = status
    task.status = "SUCCESS"
    beat = client_of.both(beat_id)

    conforms(beat, documented.BEAT_MODEL)
    first, second = beat["versions"]
    conforms(first, {**documented.VERSION_MODEL, "sunoAudioUrl": "x", "sunoImageUrl": "x", "sunoStreamUrl": "x"})
    assert (first["sunoTaskId"], second["sunoTaskId"]) == (task.id, None)
    assert (first["sunoAudioId"], first["modelName"]) == (f"{task.id}-1", "chirp-v4-5")
    assert (first["duration"], second["duration"], beat["alternateDuration"]) == (180.5, 182.3, 182.3)
    assert beat["alternateSunoAudioUrl"] == second["sunoAudioUrl"]
    assert [each["filesDownloaded"] for each in beat["versions"]] == [False, False]
    assert first["urlsExpireAt"] > first["createdAt"]
    heard = eventually(lambda: client_of.beat(beat_id)["versions"][0]["analysis"], timeout=60)
    assert abs(heard["duration"] - 2) < 0.1


@pytest.mark.parametrize("shape", ["real_callback", "documented_callback"])
def test_callbacks_of_both_shapes_are_taken_and_looked_up(client_of: Client, suno: LittleSuno, shape: str) -> None:
    beat_id = client_of.begun()
    task = client_of.taken(beat_id)
    body = getattr(suno, shape)(task)

    # It is told before it is so: nothing is believed.
    answer = got(suno.call_back(task, body))
    assert answer == {"status": "received", "taskId": task.id, "message": "Callback processed successfully"}
    task.status = "SUCCESS"
    for _ in range(2):
        assert suno.call_back(task, body).status_code == 200
    beat = client_of.both(beat_id)
    # Late ones change nothing.
    assert suno.call_back(task, suno.real_callback(task, "error", 501)).status_code == 200
    assert client_of.beat(beat_id)["versions"] == beat["versions"] or client_of.beat(beat_id)["versions"][0]["analysis"]
    assert len(client_of.beat(beat_id)["versions"]) == 2


def test_stages_between_are_acknowledged_and_nothing_follows(client_of: Client, suno: LittleSuno) -> None:
    beat_id = client_of.begun()
    task = client_of.taken(beat_id)
    for stage in ("text", "first"):
        assert suno.call_back(task, suno.real_callback(task, stage)).status_code == 200
    assert client_of.beat(beat_id)["generationStatus"] == "processing"
    task.status = "SUCCESS"
    client_of.over(beat_id)


def test_what_failed_there_says_why(client_of: Client, suno: LittleSuno) -> None:
    beat_id = client_of.begun()
    task = client_of.taken(beat_id)
    task.status, task.problem = "SENSITIVE_WORD_ERROR", "the word is 'aggressive'"
    suno.call_back(task, suno.real_callback(task, "error", 400))
    beat = client_of.over(beat_id, "failed")

    assert beat["versions"][0]["failureReason"] == (
        "The music provider refuses a word of the prompt. It says: the word is 'aggressive'"
    )
    again = got(client_of.who.post(f"/api/beats/{beat_id}/generate-audio"))
    assert again["version"]["versionNumber"] == 2
    assert client_of.who.post(f"/api/beats/{beat_id}/cancel").status_code == 200


@pytest.mark.parametrize(
    ("code", "words"),
    [(429, "credits at the music provider are used up"), (401, "does not accept the key"), (413, "refused with 413")],
)
def test_what_it_refuses_for_good_is_told_in_words(client_of: Client, suno: LittleSuno, code: int, words: str) -> None:
    suno.refusals.append(code)
    beat_id = client_of.begun()
    reason = client_of.over(beat_id, "failed")["versions"][0]["failureReason"]

    assert words in reason
    assert not suno.of(beat_id)


def test_whoever_asks_too_fast_asks_again(client_of: Client, suno: LittleSuno) -> None:
    suno.refusals += [430, 455]
    beat_id = client_of.begun()
    task = client_of.taken(beat_id)
    task.status = "SUCCESS"
    client_of.over(beat_id)


def test_what_was_taken_is_waited_for_though_nothing_more_would_be(client_of: Client, suno: LittleSuno) -> None:
    suno.silences += [429, 403]
    beat_id = client_of.begun()
    client_of.taken(beat_id).status = "SUCCESS"
    client_of.over(beat_id)
    assert not suno.silences


@pytest.mark.parametrize("failure", ["hang up", "fail"])
def test_what_may_have_been_taken_is_not_handed_in_twice_and_a_callback_brings_its_name(
    client_of: Client, suno: LittleSuno, failure: str
) -> None:
    suno.refusals.append(failure)
    beat_id = client_of.begun()
    [task] = eventually(lambda: suno.of(beat_id), timeout=30)
    task.status = "SUCCESS"
    assert client_of.beat(beat_id)["generationStatus"] == "processing"
    eventually(lambda: suno.call_back(task, suno.real_callback(task)).status_code == 200, timeout=10)
    beat = client_of.over(beat_id)

    assert beat["versions"][0]["sunoTaskId"] == task.id
    assert suno.of(beat_id) == [task]


def test_forged_callbacks_change_nothing(client_of: Client, suno: LittleSuno, client: httpx.Client) -> None:
    beat_id = client_of.begun()
    task = client_of.taken(beat_id)
    other = client_of.begun()
    stranger = client_of.taken(other)
    good = parse_qs(urlsplit(task.callback).query)
    body = suno.real_callback(task, "error", 501)

    def forged(**changed: str) -> str:
        query = urlencode({**{name: value[0] for name, value in good.items()}, **changed})
        return urlunsplit(urlsplit(task.callback)._replace(query=query))

    heard = suno.asks
    for url in (
        f"{client.base_url}{CALLBACK}",
        forged(token=""),
        forged(token="x" * 43),
        forged(beat=other),
        forged(generation=str(uuid4())),
    ):
        assert httpx.post(url, json=body).json()["status"] == "received", url
    # The right token, and somebody else's task.
    assert httpx.post(task.callback, json=suno.real_callback(stranger, "error", 501)).status_code == 200
    events = got(client_of.who.get("/v1/events", params={"after": 0, "limit": 1000}))["events"]
    assert not [each for each in events if "TaskHeard" in json.dumps(each)]
    assert client_of.beat(beat_id)["generationStatus"] == "processing"
    assert suno.asks >= heard
    task.status = stranger.status = "SUCCESS"
    client_of.over(beat_id)
    client_of.over(other)


def test_the_callbacks_of_the_document_are_acknowledged_from_anybody(client: httpx.Client) -> None:
    shown = {
        "code": 0,
        "msg": "Success",
        "data": {"taskId": "task-abc-123", "status": "SUCCESS", "response": {"sunoData": [{"id": "audio-id-1"}]}},
    }
    answer = client.post(CALLBACK, json=shown)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "status": "received", "taskId": "task-abc-123", "message": "Callback processed successfully",
    }  # fmt: skip
    wav = client.post(f"{CALLBACK}/wav", json={**shown, "data": {**shown["data"], "taskId": "wav-task-123"}})  # type: ignore[dict-item]
    assert (wav.status_code, wav.json()["taskId"]) == (200, "wav-task-123")
    real = client.post(f"{CALLBACK}/wav", json={"code": 200, "msg": "ok", "data": {"task_id": "w", "audioWavUrl": "x"}})
    assert (real.status_code, real.json()["taskId"]) == (200, "w")


ODD = (
    b"", b"[]", b"null", b"{", b'"x"', b"\xff", b"[" * 5000, b'{"data":{"taskId":{"a":1}}}', b'{"data":[]}',
    b'{"code":1e999}', b'{"data":{"taskId":"\\ud800"}}', b'{"code":{},"data":{"status":{"a":[1]}}}',
    b'{"data":{"callbackType":' + b"[" * 970 + b"]" * 970 + b"}}",
)  # fmt: skip


def test_whoever_has_the_token_may_say_anything_and_is_not_believed(client_of: Client, suno: LittleSuno) -> None:
    beat_id = client_of.begun()
    task = client_of.taken(beat_id)
    named = b'{"code":"no","data":{"callbackType":["fail"],"task_id":"%b"}}' % task.id.encode()
    for body in (*ODD, named, b'{"code":true,"data":{"task_id":"\\u0000"}}'):
        answer = httpx.post(task.callback, content=body, headers={"content-type": "application/json"}, timeout=15)
        assert answer.status_code in (200, 400), answer.text
    assert client_of.beat(beat_id)["generationStatus"] == "processing"
    task.status = "SUCCESS"
    assert len(client_of.both(beat_id)["versions"]) == 2


@pytest.mark.parametrize("body", ODD)
def test_callbacks_may_hold_anything(client: httpx.Client, body: bytes) -> None:
    for path in (CALLBACK, f"{CALLBACK}/wav"):
        answer = client.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400), answer.text
        assert "error" in answer.json() or answer.json()["taskId"] is None


def test_files_are_fetched_when_somebody_asks_and_kept_here(client_of: Client, clip: bytes, suno: LittleSuno) -> None:
    beat_id = client_of.begun()
    client_of.taken(beat_id).status = "SUCCESS"
    client_of.both(beat_id)
    found = got(client_of.who.post(f"/api/beats/{beat_id}/download"))

    conforms(found["versions"], documented.DOWNLOADED["versions"])
    assert found["success"]
    beat = eventually(
        lambda: (now := client_of.beat(beat_id)) and all(each["filesDownloaded"] for each in now["versions"]) and now,
        timeout=30,
    )
    assert beat
    assert (beat["fileUrl"], beat["coverArtPath"]) == (
        found["filesDownloaded"]["primary"]["audio"], found["filesDownloaded"]["primary"]["cover"],
    )  # fmt: skip
    # The provider's address stays what is shown as long as it lasts; what lies here is behind the path.
    assert beat["sunoAudioUrl"].startswith(suno.url)
    answer = client_of.who.get(f"/{beat['fileUrl']}")
    assert httpx.get(answer.headers["location"]).content == clip
    again = got(client_of.who.post(f"/api/beats/{beat_id}/download"))
    assert again["success"]


@pytest.mark.usefixtures("generations")
def test_a_wav_is_the_provider_s_own(client_of: Client) -> None:
    beat_id = client_of.begun()
    client_of.taken(beat_id).status = "SUCCESS"
    client_of.both(beat_id)
    got(client_of.who.post(f"/api/beats/{beat_id}/convert-to-wav"))
    status = eventually(
        lambda: (
            (now := got(client_of.who.get(f"/api/beats/{beat_id}/wav-status")))["wavConversionStatus"] == "completed"
            and now
        ),
        timeout=60,
    )
    assert status
    answer = client_of.who.get(f"/{status['wavUrl']}")
    content = httpx.get(answer.headers["location"]).content
    # One second, which is what the provider's own WAV has, and not the two of its MP3.
    assert abs((len(content) - 44) / 4 / 44_100 - 1.0) < 0.01


def test_files_that_are_gone_say_so(client_of: Client, suno: LittleSuno) -> None:
    beat_id = client_of.begun()
    client_of.taken(beat_id).status = "SUCCESS"
    client_of.both(beat_id)
    suno.files_are_gone = True
    try:
        found = got(client_of.who.post(f"/api/beats/{beat_id}/download?versionNumber=1"))
    finally:
        suno.files_are_gone = False
    assert (found["success"], found["versions"]) == (False, [{"versionNumber": 1, "filesDownloaded": False}])
    assert "404" in client_of.beat(beat_id)["versions"][0]["downloadProblem"]


def test_a_provider_that_is_not_set_up_is_not_to_be_had(client_of: Client) -> None:
    body = {"categoryName": "Trap - Dark/Aggressive", "provider": "somebody"}
    assert got(client_of.who.post("/api/generate/beat", body), 400)["error"] == "Provider not available"


def test_one_setting_puts_the_provider_in_the_place_of_the_band(
    client_of: Client, suno: LittleSuno, stack: Stack
) -> None:
    body = {"categoryName": "Trap - Dark/Aggressive"}
    with stack.door(beats_provider="sunoapi") as url:
        elsewhere, own = (
            got(httpx.post(f"{url}/api/generate/beat", json={**body, **more}, headers=client_of.who.headers))
            for more in ({}, {"provider": "band"})
        )
    conforms(elsewhere, documented.FULL)
    client_of.taken(elsewhere["beat"]["id"]).status = "SUCCESS"
    assert client_of.both(elsewhere["beat"]["id"])["versions"][0]["provider"] == "sunoapi"
    assert client_of.beat(own["beat"]["id"])["versions"][0]["provider"] == "band"
    got(client_of.who.post(f"/api/beats/{own['beat']['id']}/cancel"))
    assert not suno.of(own["beat"]["id"])


def test_its_key_goes_nowhere_else(suno: LittleSuno, stack: Stack) -> None:
    assert set(suno.keys) == {f"Bearer {suno.key}"}
    assert suno.key not in stack.log
    assert not any(parse_qs(urlsplit(task.callback).query)["token"][0] in stack.log for task in suno.tasks.values())
