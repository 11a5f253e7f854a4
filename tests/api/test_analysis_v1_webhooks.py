"""Webhooks of the analysis API, version 1: signed as the standard says, tried as often as it takes, all on file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from infra.embedded.processes import free_ports
from tests.journeys.kit import Account, Neighbour, Received, Reply, clip_bytes, eventually

Register = Callable[[], Account]


@pytest.fixture(scope="module")
def sound(audio: Neighbour) -> str:
    """The address of a second of sound."""
    return audio.put("webhook.wav", clip_bytes(1.0))


def submit(who: Account, url: str, webhook_url: str) -> str:
    answer = who.post("/v1/analyze/url", json={"url": url, "webhook_url": webhook_url})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def name() -> str:
    return f"hook-{uuid4().hex}"


def secret_of(who: Account) -> str:
    return str(who.get("/v1/webhook-secret").json()["secret"])


def verified(post: Received, secret: str) -> Any:
    """What a receiver reads that trusts only what is signed."""
    return Webhook(secret).verify(post.body, post.headers)


def log_of(who: Account, job_id: str, attempts: int) -> dict[str, Any]:
    """The webhook log once so many attempts are in it."""

    def complete() -> dict[str, Any]:
        answer = who.get(f"/v1/analysis/{job_id}/webhooks")
        assert answer.status_code == 200
        log: dict[str, Any] = answer.json()
        assert log["latest_attempt"] >= attempts
        return log

    return eventually(complete, timeout=40)


def test_the_receiver_gets_the_job_as_it_can_be_read_signed_with_the_workspace_s_secret(
    account: Register, receiver: Neighbour, sound: str
) -> None:
    mine, hook = account(), name()
    job_id = submit(mine, sound, receiver.answer(hook, 200))
    [post] = eventually(lambda: receiver.received(hook))

    assert post.method == "POST"
    assert post.headers["content-type"] == "application/json"
    message = verified(post, secret_of(mine))
    assert set(message) == {"type", "timestamp", "data"}
    assert message["type"] == "analysis.completed"
    assert datetime.fromisoformat(message["timestamp"]).tzinfo is not None
    assert message["data"] == mine.get(f"/v1/analysis/{job_id}").json()
    assert message["data"]["status"] == "completed"
    assert abs(int(post.headers["webhook-timestamp"]) - post.at) < 5


def test_nobody_else_s_secret_verifies_it_and_no_other_body_either(
    account: Register, receiver: Neighbour, sound: str
) -> None:
    mine, hook = account(), name()
    submit(mine, sound, receiver.answer(hook, 200))
    [post] = eventually(lambda: receiver.received(hook))
    with pytest.raises(WebhookVerificationError):
        verified(post, secret_of(account()))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(mine)).verify(post.body.replace(b"completed", b"completEd"), post.headers)


def test_the_log_shows_the_documented_fields(account: Register, receiver: Neighbour, sound: str) -> None:
    mine, hook = account(), name()
    job_id = submit(mine, sound, receiver.answer(hook, 204))
    assert log_of(mine, job_id, 1) == {
        "job_id": job_id,
        "webhook_configured": True,
        "delivered": True,
        "latest_attempt": 1,
        "success_count": 1,
        "deliveries": [{"attempt": 1, "status_code": 204, "success": True, "error_detail": None}],
    }


def test_a_job_without_a_webhook_says_so(account: Register, sound: str) -> None:
    mine = account()
    job_id = mine.post("/v1/analyze/url", json={"url": sound}).json()["job_id"]
    mine.finished(job_id)
    assert mine.get(f"/v1/analysis/{job_id}/webhooks").json() == {
        "job_id": job_id,
        "webhook_configured": False,
        "delivered": False,
        "latest_attempt": 0,
        "success_count": 0,
        "deliveries": [],
    }


def test_a_failed_job_is_told_too(account: Register, receiver: Neighbour, audio: Neighbour) -> None:
    mine, hook = account(), name()
    job_id = submit(mine, audio.answer(f"not-{hook}", 404), receiver.answer(hook, 200))
    [post] = eventually(lambda: receiver.received(hook))
    message = verified(post, secret_of(mine))
    assert message["type"] == "analysis.failed"
    assert message["data"] == mine.get(f"/v1/analysis/{job_id}").json()
    assert message["data"]["error"]


def test_after_a_failure_it_is_sent_again_under_the_same_id_and_signed_anew(
    account: Register, receiver: Neighbour, sound: str
) -> None:
    mine, hook = account(), name()
    job_id = submit(mine, sound, receiver.answer(hook, 500, Reply(503, b"", {"Retry-After": "1"}), 404, 200))
    log = log_of(mine, job_id, 4)
    posts = receiver.received(hook)

    assert [post.headers["webhook-id"] for post in posts] == [posts[0].headers["webhook-id"]] * 4
    for post in posts:
        verified(post, secret_of(mine))
        assert abs(int(post.headers["webhook-timestamp"]) - post.at) < 3, "the time is that of the attempt"
    assert posts[2].at - posts[1].at >= 1.0, "the receiver had asked for a second"
    assert [
        (each["attempt"], each["status_code"], each["success"], each["error_detail"]) for each in log["deliveries"]
    ] == [
        (1, 500, False, "The receiver answered 500."),
        (2, 503, False, "The receiver answered 503."),
        (3, 404, False, "The receiver answered 404."),
        (4, 200, True, None),
    ]
    assert (log["delivered"], log["latest_attempt"], log["success_count"]) == (True, 4, 1)


def test_when_no_attempt_is_left_it_is_given_up_and_all_attempts_are_on_file(
    account: Register, receiver: Neighbour, sound: str
) -> None:
    mine, gone, away, elsewhere = account(), name(), name(), name()
    [closed] = free_ports(1)
    # Those that end early come first: when the others have had all their attempts, these would have had theirs.
    told_410 = submit(mine, sound, receiver.answer(gone, 410, 200))
    log_of(mine, told_410, 1)
    redirected = submit(mine, sound, receiver.answer(away, Reply(307, b"", {"Location": receiver.at(elsewhere)})))
    refused = submit(mine, sound, f"http://127.0.0.1:{closed}/hook")

    for job_id, status in ((redirected, 307), (refused, None)):
        log = log_of(mine, job_id, 5)
        assert (log["delivered"], log["latest_attempt"], log["success_count"]) == (False, 5, 0)
        assert [each["status_code"] for each in log["deliveries"]] == [status] * 5
        assert all(each["error_detail"] for each in log["deliveries"])
    assert receiver.received(elsewhere) == [], "a redirect is not followed"

    log = log_of(mine, told_410, 1)
    assert (log["delivered"], log["latest_attempt"]) == (False, 1)
    assert len(receiver.received(gone)) == 1, "gone is gone"


def test_a_receiver_that_takes_too_long_is_tried_again(account: Register, receiver: Neighbour, sound: str) -> None:
    mine, hook = account(), name()
    job_id = submit(mine, sound, receiver.answer(hook, Reply(200, delay=2.5), 200))
    log = log_of(mine, job_id, 2)
    assert [each["status_code"] for each in log["deliveries"]] == [None, 200]
    assert len({post.headers["webhook-id"] for post in receiver.received(hook)}) == 1


def test_two_jobs_are_told_under_two_ids(account: Register, receiver: Neighbour, sound: str) -> None:
    mine, hook = account(), name()
    jobs = {submit(mine, sound, receiver.answer(hook, 200)) for _ in range(2)}
    posts = eventually(lambda: len(receiver.received(hook)) == 2 and receiver.received(hook))
    assert posts
    assert {post.json["data"]["job_id"] for post in posts} == jobs
    assert len({post.headers["webhook-id"] for post in posts}) == 2


def test_the_secret_stays_until_it_is_rotated_and_then_both_sign_for_a_day(
    account: Register, receiver: Neighbour, sound: str
) -> None:
    mine, hook = account(), name()
    answer = mine.get("/v1/webhook-secret")
    assert answer.status_code == 200
    old = answer.json()["secret"]
    assert old.startswith("whsec_")
    assert mine.get("/v1/webhook-secret").json() == {"secret": old, "old_expires_at": None}

    rotated = mine.post("/v1/webhook-secret/rotate")
    assert rotated.status_code == 200
    new = rotated.json()["secret"]
    assert new != old
    left = datetime.fromisoformat(rotated.json()["old_expires_at"]) - datetime.now(UTC)
    assert 23.9 < left.total_seconds() / 3600 <= 24
    assert mine.get("/v1/webhook-secret").json() == rotated.json()

    submit(mine, sound, receiver.answer(hook, 200))
    [post] = eventually(lambda: receiver.received(hook))
    signatures = post.headers["webhook-signature"].split()
    assert len(signatures) == 2
    assert all(signature.startswith("v1,") for signature in signatures)
    for secret, signature in ((new, signatures[0]), (old, signatures[1])):
        verified(post, secret)
        Webhook(secret).verify(post.body, {**post.headers, "webhook-signature": signature})


def test_secrets_of_workspaces_differ(account: Register) -> None:
    assert secret_of(account()) != secret_of(account())
