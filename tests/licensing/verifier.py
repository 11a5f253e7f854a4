"""Checks signatures and files as a plug-in would, with nothing of the service: RFC 8032 written anew, in Python."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import datetime
from hashlib import sha256, sha512
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int, int, int]


class Refused(Exception):
    """This proves nothing."""


def _add(one: Point, two: Point) -> Point:
    a, b = (one[1] - one[0]) * (two[1] - two[0]) % P, (one[1] + one[0]) * (two[1] + two[0]) % P
    c, d = 2 * one[3] * two[3] * D % P, 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(factor: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = _add(total, point)
        point = _add(point, point)
        factor >>= 1
    return total


def _same(one: Point, two: Point) -> bool:
    return (one[0] * two[2] - two[0] * one[2]) % P == 0 and (one[1] * two[2] - two[1] * one[2]) % P == 0


def _x_of(y: int, sign: int) -> int:
    if y >= P:
        raise Refused("no point")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (not x and sign):
        raise Refused("no point")
    return P - x if x & 1 != sign else x


def _point(data: bytes) -> Point:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    x = _x_of(y, sign)
    return x, y, 1, x * y % P


_BASE_Y = 4 * pow(5, -1, P) % P
_BASE_X = _x_of(_BASE_Y, 0)
BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % P)


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raises Refused unless the key has signed the message (RFC 8032, 5.1.7)."""
    if len(public_key) != 32 or len(signature) != 64:
        raise Refused("lengths")
    s = int.from_bytes(signature[32:], "little")
    if s >= ORDER:
        raise Refused("s")
    key, r = _point(public_key), _point(signature[:32])
    k = int.from_bytes(sha512(signature[:32] + public_key + message).digest(), "little") % ORDER
    if not _same(_times(s, BASE), _add(r, _times(k, key))):
        raise Refused("signature")


def open_response(answer: dict[str, Any], key: str, nonce: str, code: str, machine: str) -> dict[str, Any]:
    """What a signed answer says; raises Refused for one that is unsigned, forged, replayed, or about something else."""
    signed = answer.get("signed") or answer.get("details", {}).get("signed")
    if not signed:
        raise Refused("unsigned")
    if signed["alg"] != "base64+ed25519":
        raise Refused("alg")
    verify(b64decode(key), f"response/{signed['enc']}".encode(), b64decode(signed["sig"]))
    said: dict[str, Any] = json.loads(b64decode(signed["enc"]))
    if said["nonce"] != nonce:
        raise Refused("nonce")
    if said["code"] != sha256(code.encode()).hexdigest() or said["machine"] != sha256(machine.encode()).hexdigest():
        raise Refused("subject")
    return said


def open_file(
    text: str, what: str, key: str, now: datetime, *, secret: str | None = None, fingerprint: str | None = None
) -> dict[str, Any]:
    """What a license or machine file says; raises Refused for one that is forged, over, or from the future."""
    title = f"{what.upper()} FILE"
    begin, *lines, end = text.splitlines()
    if (begin, end) != (f"-----BEGIN {title}-----", f"-----END {title}-----"):
        raise Refused("form")
    outer = json.loads(b64decode("".join(lines)))
    if set(outer) != {"enc", "sig", "alg"}:
        raise Refused("form")
    verify(b64decode(key), f"{what}/{outer['enc']}".encode(), b64decode(outer["sig"]))
    if outer["alg"] == "base64+ed25519":
        payload = b64decode(outer["enc"], validate=True)
    elif outer["alg"] == "aes-256-gcm+ed25519" and secret is not None:
        ciphertext, iv, tag = (b64decode(part, validate=True) for part in outer["enc"].split("."))
        payload = AESGCM(sha256((secret + (fingerprint or "")).encode()).digest()).decrypt(iv, ciphertext + tag, None)
    else:
        raise Refused("alg")
    said: dict[str, Any] = json.loads(payload)
    if not datetime.fromisoformat(said["meta"]["issued"]) <= now < datetime.fromisoformat(said["meta"]["expiry"]):
        raise Refused("time")
    if what == "machine" and said["data"]["attributes"]["fingerprint"] != fingerprint:
        raise Refused("fingerprint")
    return said
