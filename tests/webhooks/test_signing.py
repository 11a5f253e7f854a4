"""Signatures that the specification's own library accepts, and the moments at which deliveries are tried."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from adapters.vault import Vault
from commands.webhooks.settings import Webhooks
from domain.webhooks.deliveries import next_attempt as domain_next_attempt
from domain.webhooks.signing import SIGNERS, BadSecret, Outgoing, key_of

#: From the acceptance to the first attempt, and from each attempt to the next, in seconds.
SCHEDULE = (0.0, *Webhooks().webhook_retry_seconds)
RETRY_AFTER_SECONDS_MAX = 86_400.0
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
jitters = st.floats(0, 1, exclude_max=True)


def next_attempt(
    attempt: int,
    now: datetime,
    jitter: float,
    retry_after: float | None = None,
    schedule: tuple[float, ...] = SCHEDULE,
) -> datetime | None:
    """The domain's schedule, counted from the acceptance, which the first attempt follows as its first wait."""
    share = Webhooks().webhook_jitter * jitter
    return domain_next_attempt(attempt + 1, now, waits=schedule, jitter=share, retry_after_seconds=retry_after)


#: HMAC-SHA256 of the body under the text of the secret, by `openssl dgst -sha256 -hmac`.
STUDIO_VECTOR = "sha256=80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c"


def new_secret() -> str:
    """A signing secret that nobody else has."""
    vault = Vault(b"a secret of the tests" * 2)
    return vault.signing_secret(vault.new_id())


def headers(
    message_id: str, sent_at: datetime, body: bytes, texts: list[str], scheme: str = "standard-webhooks"
) -> dict[str, str]:
    """What one attempt is sent with."""
    message = Outgoing(message_id=message_id, message_type="build.success", sent_at=sent_at, body=body, secrets=texts)
    return dict(SIGNERS[scheme].headers(message))


def sign(message_id: str, sent_at: datetime, body: bytes, texts: list[str]) -> str:
    """The signature alone."""
    return headers(message_id, sent_at, body, texts)["webhook-signature"]


def verified(text: str, body: bytes, sent: dict[str, str]) -> bool:
    try:
        Webhook(text).verify(body, sent)
    except WebhookVerificationError:
        return False
    return True


def test_the_vector_of_the_specification_comes_out() -> None:
    signature = sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
        ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=300))
def test_every_delivery_is_accepted_by_the_reference_library(body: bytes) -> None:
    text = new_secret()
    body = b' {"x": "' + base64.b64encode(body) + b'"}\n'
    sent = headers("msg_1", datetime.now(UTC), body, [text])
    assert verified(text, body, sent)
    assert not verified(text, body + b" ", sent)
    assert not verified(text, body, sent | {"webhook-id": "msg_2"})
    assert not verified(new_secret(), body, sent)


def test_the_plug_in_studio_is_signed_for_with_the_secret_as_it_is_displayed() -> None:
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    sent = headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), body, [secret], "beatconnect"
    )

    # What its documentation tells receivers to do.
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    assert sent["X-BeatConnect-Signature"] == expected
    assert expected == STUDIO_VECTOR
    assert sent["X-BeatConnect-Event"] == "build.success"
    assert sent["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "beside it, the standard's"
    assert sent[SIGNERS["beatconnect"].signature] == expected


def test_the_plug_in_studio_has_room_for_the_newest_secret_only_and_the_standard_for_both() -> None:
    old, new = new_secret(), new_secret()
    both, alone = (headers("m", datetime.now(UTC), b"{}", texts, "beatconnect") for texts in ([new, old], [new]))
    assert both["X-BeatConnect-Signature"] == alone["X-BeatConnect-Signature"]
    assert verified(old, b"{}", both)
    assert verified(new, b"{}", both)


def test_while_a_secret_is_rotated_both_the_old_and_the_new_one_verify() -> None:
    old, new = new_secret(), new_secret()
    sent = headers("msg_1", datetime.now(UTC), b"{}", [new, old])
    assert sent["webhook-signature"].count("v1,") == 2
    assert verified(old, b"{}", sent)
    assert verified(new, b"{}", sent)


def test_the_same_moment_in_another_zone_is_signed_alike() -> None:
    text = new_secret()
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert headers("m", NOW, b"{}", [text]) == headers("m", elsewhere, b"{}", [text])


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        sign("m", datetime(2026, 1, 1), b"{}", [new_secret()])  # noqa: DTZ001  # it is what is being refused


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\n"])
def test_an_id_that_would_blur_the_signed_text_is_refused(message_id: str) -> None:
    with pytest.raises(ValueError, match="no dots"):
        sign(message_id, NOW, b"{}", [new_secret()])


def test_new_secrets_differ_and_have_the_documented_form() -> None:
    texts = {new_secret() for _ in range(100)}
    assert len(texts) == 100
    assert all(text.startswith("whsec_") and len(key_of(text)) == 32 for text in texts)


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_!!!!", "whsec_" + base64.b64encode(b"x" * 23).decode(), base64.b64encode(b"x" * 65).decode()],
)
def test_a_secret_of_another_form_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(BadSecret) as refusal:
        key_of(text)
    assert text in {"", "whsec_"} or text not in str(refusal.value)


def test_without_jitter_the_attempts_follow_the_documented_schedule() -> None:
    waits = []
    for attempt in range(len(SCHEDULE)):
        moment = next_attempt(attempt, NOW, 0.0)
        assert moment is not None
        waits.append(moment - NOW)
    assert waits == [
        timedelta(seconds=0),
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
    ]
    assert next_attempt(len(SCHEDULE), NOW, 0.0) is None


@given(st.integers(0, 9), jitters)
def test_jitter_lengthens_a_delay_by_at_most_a_tenth(attempt: int, jitter: float) -> None:
    moment = next_attempt(attempt, NOW, jitter)
    assert moment is not None
    delay = (moment - NOW).total_seconds()
    assert SCHEDULE[attempt] <= delay <= SCHEDULE[attempt] * 1.1


@given(st.integers(0, 9), jitters, st.floats(0, 1e9))
def test_a_server_may_ask_for_more_patience_up_to_a_day_and_never_for_less(
    attempt: int, jitter: float, retry_after: float
) -> None:
    alone = next_attempt(attempt, NOW, jitter)
    asked = next_attempt(attempt, NOW, jitter, retry_after)
    assert alone is not None
    assert asked is not None
    wish = NOW + timedelta(seconds=min(retry_after, RETRY_AFTER_SECONDS_MAX))
    assert asked == max(alone, wish)


def test_asking_for_patience_buys_no_extra_attempt() -> None:
    assert next_attempt(len(SCHEDULE), NOW, 0.5, 10.0) is None


def test_a_shorter_schedule_ends_sooner() -> None:
    assert next_attempt(1, NOW, 0.0, None, (0, 2)) == NOW + timedelta(seconds=2)
    assert next_attempt(2, NOW, 0.0, None, (0, 2)) is None
