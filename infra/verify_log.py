"""Checks an exported log against its seals, by itself: it needs Python's own library and nothing of Ledgerline.

    ledgerline log export | python verify_log.py PUBLIC_KEY_IN_HEX

The lines are as `docs/operators.md` describes them. Exit status 0 and one line when every event is as it was sealed;
otherwise 1, and what is wrong. Ed25519 is as in RFC 8032, the tree as in RFC 9162.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha512
from typing import Any
from uuid import UUID

Point = tuple[int, int, int, int]

# --- Ed25519, only to verify ------------------------------------------------------------------------------------------

P, Q = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def add(a: Point, b: Point) -> Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    g, h, i, j = f - e, d - c, d + c, f + e
    return g * h % P, i * j % P, h * i % P, g * j % P


def times(number: int, point: Point) -> Point:
    sum_ = (0, 1, 1, 0)
    while number:
        if number & 1:
            sum_ = add(sum_, point)
        point, number = add(point, point), number >> 1
    return sum_


def point_of(octets: bytes) -> Point | None:
    y = int.from_bytes(octets, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or y >= P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    a, r, s = point_of(key), point_of(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= Q or BASE is None:
        return False
    h = int.from_bytes(sha512(signature[:32] + key + message).digest(), "little") % Q
    one, other = times(s, BASE), add(r, times(h, a))
    return not ((one[0] * other[2] - other[0] * one[2]) % P or (one[1] * other[2] - other[1] * one[2]) % P)


# --- events, their digests, and the tree over them --------------------------------------------------------------------

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def row(event: dict[str, Any], traced: bool) -> bytes:
    """The event as a row of Postgres' binary COPY; its trace is a field of it where it has one and seals cover it."""
    state = event["state"].encode() if "state" in event else base64.b64decode(event["state_base64"])
    causation = event["causation_id"]
    fields = (
        struct.pack(">q", event["position"]),
        event["stream"].encode(),
        struct.pack(">q", event["version"]),
        UUID(event["event_id"]).bytes,
        event["type"].encode(),
        struct.pack(">h", event["schema_version"]),
        struct.pack(">q", (datetime.fromisoformat(event["recorded_at"]) - EPOCH) // timedelta(microseconds=1)),
        event["workspace_id"].encode(),
        event["actor"].encode(),
        UUID(event["correlation_id"]).bytes,
        None if causation is None else UUID(causation).bytes,
        state,
        *([event["traceparent"].encode()] if traced and "traceparent" in event else []),
    )
    cells = (b"\xff\xff\xff\xff" if each is None else struct.pack(">i", len(each)) + each for each in fields)
    return struct.pack(">h", len(fields)) + b"".join(cells)


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + root(leaves[:half]) + root(leaves[half:])).digest()


def main(key: bytes, lines: Iterable[str]) -> int:
    problems: list[str] = []
    chains: dict[str, tuple[int, bytes]] = {}
    waiting: list[dict[str, Any]] = []
    events = seals = last = 0
    previous = "00" * 32
    for line in map(json.loads, lines):
        if "seal" not in line:
            waiting.append(line)
            continue
        text, seal = line["seal"].encode(), json.loads(line["seal"])
        named = f"seal {seal['number']} (positions {seal['after'] + 1} to {seal['last']})"
        if not is_signed(key, text, bytes.fromhex(line["signature"])):
            problems.append(f"{named} is not signed by this key")
        if (seal["number"], seal["after"], seal["previous"]) != (seals + 1, last, previous):
            problems.append(f"{named} does not follow seal {seals}")
        leaves = []
        for event in waiting:
            version, before = chains.get(event["stream"], (0, bytes(32)))
            if event["version"] != version + 1:
                problems.append(f"{event['stream']} goes from version {version} to {event['version']}")
            leaves.append(sha256(b"\x00" + before + row(event, seal["kind"] != "ledgerline.seal.v1")).digest())
            chains[event["stream"]] = event["version"], leaves[-1]
        events += len(waiting)
        if len(leaves) != seal["events"] or root(leaves or [b""]).hex() != seal["root"]:
            problems.append(f"what {named} covers is not what was sealed")
        seals, last, previous, waiting = seal["number"], seal["last"], sha256(text).hexdigest(), []
    for problem in problems:
        print(problem, file=sys.stderr)
    told = f"{seals} seals, the last over position {last} ({previous}), {len(waiting)} not sealed yet"
    print(f"{events + len(waiting)} events, {told}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(bytes.fromhex(sys.argv[1]), sys.stdin))
