"""Beats that are really made, by the whole service: two tracks, their files, what is heard in them, WAV and stems."""

from __future__ import annotations

import io
import json
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import httpx
import numpy as np
import pytest

from tests.beats import documented
from tests.beats.documented import conforms
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Neighbour, Stack, eventually

Json = dict[str, Any]
pytestmark = pytest.mark.usefixtures("generations")
#: Where the producer's webhooks go.
PLACE = "beats-that-were-made"


def got(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-ratelimit-limit"]
    return answer.json()


@dataclass
class Producer:
    """Somebody with a beat that was made for them."""

    who: Visitor
    begun: Json
    beat_id: str

    def detail(self) -> Json:
        """The beat as it is now."""
        beat: Json = got(self.who.get(f"/api/beats/{self.beat_id}"))
        return beat

    def fetched(self, path: str, **headers: str) -> httpx.Response:
        """What is at a path, as a browser finds it: with a session first, and then by the link alone."""
        answer = self.who.get(path, follow_redirects=False)
        assert answer.status_code == 302, answer.text
        return httpx.get(answer.headers["location"], headers=headers)


@pytest.fixture(scope="module")
def producer(client: httpx.Client, receiver: Neighbour) -> Producer:
    """With both tracks there and heard."""
    who = sign_in(client)
    chosen = ["beat.generated", "beat.wav_converted"]
    got(who.post("/v1/webhook-endpoints", {"url": receiver.at(PLACE), "event_types": chosen}), 201)
    begun = got(
        who.post(
            "/api/generate/beat", {"categoryName": "LoFi – Melodic/Calm", "mode": "full", "seed": 7, "duration": 9}
        )
    )
    made = Producer(who, begun, begun["beat"]["id"])

    def heard() -> bool:
        beat = made.detail()
        assert beat["generationStatus"] != "failed", beat["versions"]
        return len(beat["versions"]) == 2 and all(each["analysis"] for each in beat["versions"])

    eventually(heard, timeout=120)
    return made


def test_the_answer_is_as_documented_and_comes_before_anything_is_made(producer: Producer) -> None:
    conforms(producer.begun, documented.FULL)
    assert producer.begun["message"] == documented.FULL["message"]
    assert producer.begun["beat"]["sunoTaskId"] == producer.begun["version"]["sunoTaskId"]


def test_both_tracks_are_versions_and_differ(producer: Producer) -> None:
    beat = producer.detail()

    conforms(beat, documented.BEAT_MODEL)
    conforms(got(producer.who.get(f"/api/beats/{producer.beat_id}/versions")), documented.VERSIONS)
    first, second = beat["versions"]
    conforms(first, {**documented.VERSION_MODEL, **documented.VERSION_EXAMPLE})
    assert [(each["versionNumber"], each["isPrimary"], each["track"]) for each in (first, second)] == [
        (1, True, 1), (2, False, 2),
    ]  # fmt: skip
    assert first["sunoTaskId"]
    assert second["sunoTaskId"] is None
    assert (first["bpm"], first["musicalKey"]) == (second["bpm"], second["musicalKey"])
    assert beat["alternateFileUrl"] == second["fileUrl"]
    assert beat["alternateDuration"] == second["duration"]
    one, two = (httpx.get(each["sunoAudioUrl"]).content for each in (first, second))
    assert one != two


def test_what_is_there_is_listed_with_all_that_is_known_of_it(producer: Producer) -> None:
    beat = producer.detail()
    asked = {"generationStatus": "completed", "musicalKey": beat["musicalKey"].lower(), "genre": "LoFi"}
    [listed] = got(producer.who.get("/api/beats", params=asked))["data"]

    conforms(listed, documented.LISTED_WITH_AUDIO)
    links = {"sunoAudioUrl", "sunoImageUrl", "sunoStreamUrl"}  # signed anew for each answer
    assert {name: listed[name] for name in set(listed) - links} == {name: beat[name] for name in set(listed) - links}
    assert listed["bpm"] == round(listed["bpm"])
    assert all(httpx.head(listed[name]).status_code == 200 for name in links)
    assert got(producer.who.get("/api/beats", params={**asked, "musicalKey": "nothing"}))["data"] == []
    assert got(producer.who.get("/api/beats/pending/list"))["data"] == []


def test_every_version_carries_tempo_key_length_and_outline_as_played_and_as_heard(producer: Producer) -> None:
    for version in producer.detail()["versions"]:
        assert version["modelName"].startswith("ledgerline-band-")
        heard = version["analysis"]
        assert heard["problem"] is None
        assert abs(heard["duration"] - version["duration"]) < 0.1
        assert min(abs(heard["bpm"] * by / version["bpm"] - 1) for by in (0.5, 1, 2)) < 0.02
        peaks = httpx.get(version["waveformUrl"]).json()
        assert len(peaks) == 1000
        assert 0.5 < max(peaks) <= 1


def test_others_are_told_once(producer: Producer, receiver: Neighbour) -> None:
    [post] = eventually(lambda: [each for each in receiver.received(PLACE) if each.json["type"] == "beat.generated"])
    told = post.json["data"]

    assert (told["beat_id"], told["generation_status"]) == (producer.beat_id, "completed")
    assert [(each["version_number"], each["is_primary"], each["status"]) for each in told["versions"]] == [
        (1, True, "completed"), (2, False, "completed"),
    ]  # fmt: skip


def test_progress_is_told_stage_by_stage(producer: Producer) -> None:
    events = got(producer.who.get("/v1/events", params={"after": 0, "limit": 1000}))["events"]
    stages = [
        (each["data"]["track"], each["data"]["stage"]) for each in events if "GenerationAdvanced" in json.dumps(each)
    ]
    assert stages == [
        (track, stage) for track in (1, 2) for stage in ("composing", "rendering", "mastering", "storing")
    ]


def test_audio_plays_in_a_browser(producer: Producer) -> None:
    version = producer.detail()["versions"][0]
    whole = httpx.get(version["sunoAudioUrl"])

    assert whole.headers["content-type"] == "audio/mpeg"
    assert whole.headers["content-disposition"].startswith("inline; filename*=UTF-8''")
    assert whole.headers["content-disposition"].endswith(".mp3")
    assert whole.headers["accept-ranges"] == "bytes"
    part = httpx.get(version["sunoAudioUrl"], headers={"Range": "bytes=100-299"})
    assert (part.status_code, part.content) == (206, whole.content[100:300])
    with av.open(io.BytesIO(whole.content)) as container:
        assert container.metadata["title"]
        assert container.streams.audio[0].codec_context.sample_rate == 44_100


def test_paths_lead_to_files(producer: Producer, client: httpx.Client) -> None:
    beat = producer.detail()
    for path, kind, beginning in (
        (beat["fileUrl"], "audio/mpeg", b"ID3"),
        (beat["alternateFileUrl"], "audio/mpeg", b"ID3"),
        (beat["coverArtPath"], "image/png", b"\x89PNG"),
        (beat["previewPath"], "audio/mpeg", b"ID3"),
    ):
        found = producer.fetched(f"/{path}")
        assert found.headers["content-type"] == kind
        assert found.content.startswith(beginning)
    stranger = sign_in(client)
    for path in (
        beat["fileUrl"],
        f"output/beats/2025-01/01/{producer.beat_id}.mp3",
        f"output/beats/{producer.beat_id}.exe",
        f"output/covers/{producer.beat_id}_v9.png",
        "output/../../etc/passwd",
    ):
        assert stranger.get(f"/{path}").status_code == 404, path
    assert producer.who.get(f"/{beat['fileUrl'][:-3]}wav").status_code == 404


def test_the_score_comes_as_midi_and_as_json(producer: Producer) -> None:
    assert producer.fetched(f"/api/beats/{producer.beat_id}/midi").content.startswith(b"MThd")
    score = producer.fetched(f"/api/beats/{producer.beat_id}/score").json()
    assert score["brief"]["seed"] == 7
    other = producer.fetched(f"/api/beats/{producer.beat_id}/score?versionNumber=2").json()
    assert other["brief"]["take"] == 2
    missing = producer.who.get(f"/api/beats/{producer.beat_id}/midi?versionNumber=9")
    assert got(missing, 404)["versionNumber"] == 9


def test_the_outline_of_a_wave_has_an_address_of_its_own(producer: Producer) -> None:
    heights = producer.fetched(f"/api/beats/{producer.beat_id}/waveform?versionNumber=2").json()
    assert len(heights) == 1000
    assert heights == httpx.get(producer.detail()["versions"][1]["waveformUrl"]).json()


def test_another_version_stands_for_the_beat_and_the_first_one_again(producer: Producer) -> None:
    before = producer.detail()
    first, second = before["versions"]
    path = f"/api/beats/{producer.beat_id}/versions"
    for number, other, stands in ((2, first, second), (2, first, second), (1, second, first)):
        chosen = got(producer.who.post(f"{path}/{number}/primary"))
        assert chosen == {"success": True, "beatId": producer.beat_id, "versionNumber": number}
        beat = producer.detail()
        assert [each["isPrimary"] for each in beat["versions"]] == [number == 1, number == 2]
        assert (beat["fileUrl"], beat["duration"]) == (stands["fileUrl"], stands["duration"])
        assert (beat["alternateFileUrl"], beat["alternateDuration"]) == (other["fileUrl"], other["duration"])
    for nothing in ("3", "0", "-1", "two", "9" * 40, "%00"):
        assert got(producer.who.post(f"{path}/{nothing}/primary"), 404)["error"] == "Version not found"
    assert got(producer.who.post(f"/api/beats/{producer.beat_id}/cancel"), 400)["error"] == "Nothing to cancel"


def samples(content: bytes) -> Any:
    """The samples of whatever audio this is, as whole numbers of 16 bits."""
    with av.open(io.BytesIO(content), mode="r") as container:
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=44_100)
        return np.concatenate(
            [
                ready.to_ndarray().reshape(-1)
                for frame in container.decode(audio=0)
                for ready in resampler.resample(frame)
            ]
        )


def test_wav_is_made_once_of_the_master_without_a_loss(producer: Producer, stack: Stack, receiver: Neighbour) -> None:
    path = f"/api/beats/{producer.beat_id}/convert-to-wav"
    begun = got(producer.who.post(path, {"includeAlternate": True}))
    conforms(begun, documented.WAV_STARTED)
    again = got(producer.who.post(path))
    assert again["wavConversion"]["taskId"] == begun["wavConversion"]["taskId"]

    def done() -> Json | None:
        status: Json = got(producer.who.get(f"/api/beats/{producer.beat_id}/wav-status"))
        both = all(each["wavConversionStatus"] == "completed" for each in producer.detail()["versions"])
        return status if status["wavConversionStatus"] == "completed" and both else None

    status = eventually(done, timeout=60)
    assert status is not None
    conforms(status, documented.WAV_STATUS)
    assert status["wavTaskId"] == begun["wavConversion"]["taskId"]
    assert status["wavUrl"].startswith("output/beats-wav/20")
    third = got(producer.who.post(path))
    assert third["wavConversion"] == {
        "status": "completed", "taskId": status["wavTaskId"], "message": "WAV conversion completed.",
    }  # fmt: skip

    assert eventually(
        lambda: {each.json["type"] for each in receiver.received(PLACE)} == {"beat.generated", "beat.wav_converted"}
    )
    found = producer.fetched(f"/{status['wavUrl']}")
    with wave.open(io.BytesIO(found.content)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (44_100, 2, 2)
    [key] = [
        each
        for each in stack.objects(f"beats/{producer.who.workspace_id}/")
        if "flac" in each and _first(each, producer)
    ]
    master = stack.read_object(key)
    assert np.array_equal(samples(found.content), samples(master))


def _first(key: str, producer: Producer) -> bool:
    return producer.detail()["versions"][0]["id"] in key


def test_stems_are_played_when_they_are_asked_for_and_sum_to_the_mix(producer: Producer) -> None:
    path = f"/api/beats/{producer.beat_id}/stems"
    assert got(producer.who.get(path))["status"] == "not_started"
    assert got(producer.who.post(path))["status"] in ("processing", "completed")

    def done() -> Json | None:
        found: Json = got(producer.who.get(path))
        return found if found["status"] == "completed" else None

    found = eventually(done, timeout=60)
    assert found is not None
    assert {each["name"] for each in found["stems"]} == {"drums", "bass", "chords", "melody", "effects", "mix"}
    sounds = {each["name"]: _floats(httpx.get(each["url"]).content) for each in found["stems"]}
    mix = sounds.pop("mix")
    total = np.zeros_like(mix)
    for name in ("drums", "bass", "chords", "melody", "effects"):
        total += sounds[name]
    assert np.array_equal(total, mix)
    assert np.abs(mix).max() > 0.05


def _floats(content: bytes) -> Any:
    assert content[:4] == b"RIFF"
    return np.frombuffer(content[content.index(b"data") + 8 :], dtype="<f4")


def test_what_is_here_is_downloaded_at_once(producer: Producer) -> None:
    beat = producer.detail()
    found = got(producer.who.post(f"/api/beats/{producer.beat_id}/download"))

    conforms(
        found,
        {
            **documented.DOWNLOADED,
            "filesDownloaded": {"primary": documented.DOWNLOADED["filesDownloaded"]["primary"], "alternate": None},
        },
    )
    assert found["filesDownloaded"]["primary"] == {"audio": beat["fileUrl"], "cover": beat["coverArtPath"]}
    assert found["filesDownloaded"]["alternate"]["audio"] == beat["alternateFileUrl"]
    one = got(producer.who.post(f"/api/beats/{producer.beat_id}/download?versionNumber=2"))
    assert one["versions"] == [{"versionNumber": 2, "filesDownloaded": True}]
    assert producer.who.post(f"/api/beats/{producer.beat_id}/download?versionNumber=7").status_code == 404


def test_a_beat_with_audio_is_not_made_for_the_first_time_again(producer: Producer) -> None:
    body = got(producer.who.post(f"/api/beats/{producer.beat_id}/generate-audio"), 400)
    assert body["error"] == "Beat already has audio"
    assert body["message"] == "Use POST /beats/:id/versions to create a new version"


def test_before_there_is_audio_there_is_nothing_to_fetch_or_convert(client: httpx.Client) -> None:
    me = sign_in(client)
    body = {"categoryName": "Trap - Dark/Aggressive", "mode": "metadata_only"}
    beat_id = got(me.post("/api/generate/beat", body))["beat"]["id"]

    refused = got(me.post(f"/api/beats/{beat_id}/download"), 400)
    assert (refused["error"], refused["generationStatus"]) == ("Beat generation not completed", "pending")
    refused = got(me.post(f"/api/beats/{beat_id}/convert-to-wav"), 400)
    assert (refused["error"], refused["beatId"]) == ("No audio files available for conversion", beat_id)
    assert got(me.get(f"/api/beats/{beat_id}/wav-status")) == {
        "beatId": beat_id, "wavConversionStatus": "not_started", "wavUrl": None, "wavTaskId": None,
    }  # fmt: skip


def test_a_beat_that_is_being_made_can_be_cancelled_and_made_later(client: httpx.Client) -> None:
    me = sign_in(client)
    body = {"categoryName": "House - Deep/Warm", "mode": "metadata_only", "duration": 600}
    templates = got(me.get("/api/templates"))["data"]
    body["categoryName"] = next(each["categoryName"] for each in templates if each["genre"] == "House")
    beat_id = got(me.post("/api/generate/beat", body))["beat"]["id"]
    begun = got(me.post(f"/api/beats/{beat_id}/generate-audio"))
    conforms(begun, documented.AUDIO_BEGUN)
    eventually(lambda: got(me.get(f"/api/beats/{beat_id}"))["versions"][0]["stage"] == "rendering", timeout=60)

    cancelled = got(me.post(f"/api/beats/{beat_id}/cancel"))
    assert cancelled == {"success": True, "beatId": beat_id, "generationStatus": "pending"}
    assert got(me.get(f"/api/beats/{beat_id}"))["versions"][0]["status"] == "failed"
    again = got(me.post(f"/api/beats/{beat_id}/generate-audio"))
    assert again["version"]["versionNumber"] == 2
    more = got(me.post(f"/api/beats/{beat_id}/versions", {"setPrimary": True}))
    conforms(more, documented.VERSION_STARTED)
    assert (more["version"]["versionNumber"], more["version"]["isPrimary"]) == (3, False)
    assert more["message"] == documented.VERSION_STARTED["message"]
    assert got(me.post(f"/api/beats/{beat_id}/cancel"))["generationStatus"] == "pending"


def test_a_version_of_one_s_own_is_taken_heard_and_shown(client: httpx.Client, clip: bytes) -> None:
    me = sign_in(client)
    body = {"categoryName": "Trap - Dark/Aggressive", "mode": "metadata_only"}
    beat_id = got(me.post("/api/generate/beat", body))["beat"]["id"]

    taken = got(me.request("POST", f"/api/beats/{beat_id}/upload", files={"file": ("mine.wav", clip)}))
    conforms(taken["version"], documented.VERSION_MODEL)
    assert (taken["version"]["source"], taken["version"]["status"]) == ("upload", "completed")
    refused = got(me.request("POST", f"/api/beats/{beat_id}/upload", files={"file": ("no.mp3", b"not audio")}), 400)
    assert refused["code"] == "not_audio"

    def heard() -> Json | None:
        beat: Json = got(me.get(f"/api/beats/{beat_id}"))
        return beat if beat["versions"][0]["analysis"] else None

    beat = eventually(heard, timeout=60)
    assert beat is not None
    assert (beat["filesUploaded"], beat["generationStatus"]) == (True, "completed")
    assert abs(beat["duration"] - 2) < 0.1
    assert beat["fileUrl"].endswith(".wav")
    assert me.get(f"/{beat['fileUrl']}").status_code == 302
    said = httpx.get(beat["sunoAudioUrl"]).headers
    assert said["content-type"] == "audio/wav"
    title = beat["name"].partition(" Type Beat")[0].replace(" ", "-")
    assert said["content-disposition"] == f"inline; filename*=UTF-8''{title}.wav"
    assert httpx.get(beat["versions"][0]["waveformUrl"]).json()


def test_a_link_is_nobody_s_without_its_signature(producer: Producer) -> None:
    url = producer.detail()["versions"][0]["sunoAudioUrl"]
    parts = urlsplit(url)
    assert httpx.get(f"{parts.scheme}://{parts.netloc}{parts.path}").status_code == 403
    assert Path(parts.path).suffix == ".mp3"
