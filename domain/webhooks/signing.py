"""How messages are signed: each scheme is a value with a name, and the secrets are given as their owners see them."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from domain.kernel import Value
from domain.published import CLOUDEVENT

SECRET_PREFIX = "whsec_"  # noqa: S105  # how every secret begins, not one of them
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64


class Outgoing(Value):
    """A message as one attempt sends it. The first of the `secrets` is the newest; old ones still sign for a while."""

    message_id: str
    message_type: str
    sent_at: datetime
    body: bytes
    secrets: Sequence[str]


class Signer(Value):
    """A scheme: the `headers` that one attempt is sent with, and which of them is the `signature`.

    `enveloped` messages wrap what they tell in `{"type", "timestamp", "data"}`; others send it as it is.
    """

    name: str
    signature: str
    headers: Callable[[Outgoing], Mapping[str, str]]
    enveloped: bool = True


#: Every scheme by its name, which is stored with the deliveries that use it.
SIGNERS: dict[str, Signer] = {}


def signer(name: str, *, signature: str, headers: Callable[[Outgoing], Mapping[str, str]], enveloped: bool) -> Signer:
    """Define a scheme and register it."""
    assert name not in SIGNERS, f"two signers are called {name}"
    SIGNERS[name] = Signer(name=name, signature=signature, headers=headers, enveloped=enveloped)
    return SIGNERS[name]


class BadSecret(ValueError):
    """A signing secret is `whsec_` and the base64 of 24 to 64 bytes."""


def key_of(secret: str) -> bytes:
    """The bytes that sign after Standard Webhooks; the prefix may be missing, as the specification allows."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret(BadSecret.__doc__) from None
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise BadSecret(BadSecret.__doc__)
    return key


def standard_webhooks(message: Outgoing) -> dict[str, str]:
    """Standard Webhooks 1.0.0: the id is the same for all attempts, the timestamp and signature are not."""
    if not re.fullmatch(r"[^.\s]+", message.message_id):
        raise ValueError("a message id has no dots and no spaces, because the signed text is divided by dots")
    if message.sent_at.tzinfo is None:
        raise ValueError("a time without a zone would be signed as another moment elsewhere")
    sent_at = int(message.sent_at.timestamp())
    signed = b"%b.%d.%b" % (message.message_id.encode(), sent_at, message.body)
    digests = (hmac.digest(key_of(secret), signed, "sha256") for secret in message.secrets)
    return {
        "Content-Type": "application/json",
        "webhook-id": message.message_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }


def beatconnect(message: Outgoing) -> dict[str, str]:
    """The plug-in studio's: the body under the newest secret, beside the headers of Standard Webhooks.

    Its key is the secret's text as it is displayed, prefix and all, where Standard Webhooks decodes it. It has room
    for one signature, so while an old secret runs out, only the standard header holds that one's.
    """
    digest = hmac.digest(message.secrets[0].encode(), message.body, "sha256")
    return standard_webhooks(message) | {
        "X-BeatConnect-Event": message.message_type,
        "X-BeatConnect-Signature": f"sha256={digest.hex()}",
    }


def events(message: Outgoing) -> dict[str, str]:
    """Standard Webhooks over a published event, whose media type says that the body is a CloudEvent."""
    return standard_webhooks(message) | {"Content-Type": CLOUDEVENT}


STANDARD_WEBHOOKS = signer(
    "standard-webhooks", signature="webhook-signature", headers=standard_webhooks, enveloped=True
)
BEATCONNECT = signer("beatconnect", signature="X-BeatConnect-Signature", headers=beatconnect, enveloped=False)
EVENTS = signer("standard-webhooks-events", signature="webhook-signature", headers=events, enveloped=False)
