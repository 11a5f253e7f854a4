"""Standard Webhooks 1.0.0: what a delivery is signed with."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

SECRET_PREFIX = "whsec_"  # noqa: S105  # how every secret begins, not one of them
SECRET_BYTES = 32
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64


class BadSecret(ValueError):
    """A signing secret is `whsec_` and the base64 of 24 to 64 bytes."""


def new_secret() -> str:
    """A fresh signing secret, to be shown once."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that sign; the prefix may be missing, as the specification allows."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret(BadSecret.__doc__) from None
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise BadSecret(BadSecret.__doc__)
    return key


def sign(message_id: str, sent_at: datetime, body: bytes, key_texts: Sequence[str]) -> str:
    """The `webhook-signature` header: one `v1` signature for each secret, newest first while an old one runs out."""
    if not re.fullmatch(r"[^.\s]+", message_id):
        raise ValueError("a message id has no dots and no spaces, because the signed text is divided by dots")
    signed = b"%b.%d.%b" % (message_id.encode(), _timestamp(sent_at), body)
    digests = (hmac.digest(key_of(text), signed, hashlib.sha256) for text in key_texts)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def headers(message_id: str, sent_at: datetime, body: bytes, key_texts: Sequence[str]) -> dict[str, str]:
    """What to send with one attempt: the id is the same for all attempts, the timestamp and signature are not."""
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(_timestamp(sent_at)),
        "webhook-signature": sign(message_id, sent_at, body, key_texts),
    }


def _timestamp(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone would be signed as another moment elsewhere")
    return int(moment.timestamp())
