"""The tour of the README: register, hand in a recording, read what is in it, be told."""

from __future__ import annotations

from collections.abc import Callable

from tests.journeys.kit import Account, Neighbour, eventually


def test_a_recording_goes_in_and_what_is_in_it_comes_out(
    account: Callable[[], Account], receiver: Neighbour, audio: Neighbour, clip: bytes
) -> None:
    me = account()
    hook = receiver.answer("tour", 200)
    url = audio.put("tour.wav", clip, "audio/wav")

    uploaded = me.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)}, data={"webhook_url": hook})
    fetched = me.post("/v1/analyze/url", json={"url": url})
    assert (uploaded.status_code, fetched.status_code) == (202, 202)

    for answer in (uploaded, fetched):
        job = me.finished(answer.json()["job_id"])
        assert job["status"] == "completed", job
        assert job["result"]["duration_seconds"] == 2.0
    eventually(lambda: receiver.received("tour"))
