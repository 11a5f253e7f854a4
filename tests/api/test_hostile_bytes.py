"""Bytes that are no text, endless numbers and moments at the ends of the calendar, in every place of every route."""

from __future__ import annotations

import hmac
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import jsonschema_rs
import pytest

from api.samples import call_of, operations, resolved
from api.surfaces import surface_at
from commands.settings import Service
from tests.builds.little_github import SECRET as GITHUB_SECRET
from tests.identity.crowd import Json, Visitor, sign_in
from tests.journeys.kit import Account, Process, Stack, eventually
from tests.runner.projects import lv2_with_make, repository

ENDS = ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00")

#: What stands in a path or a query, as it is sent.
IN_PATH = ("a%00b", "%ed%a0%80", "%C2%B2", "%2e%2e%2f%ff", "9" * 400)
IN_QUERY = ("%00", "%ed%a0%80", "%C2%B2", "9" * 400, quote(ENDS[3]))
#: Several at once: each is somebody else's, and most routes look at none of them.
IN_HEADERS: tuple[dict[bytes, bytes], ...] = (
    {
        b"Range": b"bytes=\xb2-",
        b"Last-Event-ID": b"\xb2",
        b"Accept": b"text/event-stream\xff",
        b"If-None-Match": b"\xff",
        b"Idempotency-Key": b"\xff\xfe",
        b"Origin": b"http://[",
        b"X-Request-ID": b"\xff",
        b"User-Agent": b"\xff\xfe",
        b"X-Workspace-ID": b"\xff",
        b"X-Forwarded-For": b"\xff, 999.1.1.1",
        b"Stripe-Signature": b"t=\xb2,v1=\xff",
        b"X-Signature": b"sha256=\xff",
    },
    {
        b"Range": b"bytes=5--",
        b"If-Range": b"\xff",
        b"Accept": b"\xff/\xff;q=\xb2",
        b"Idempotency-Key": b"9" * 300,
        b"Sec-Fetch-Site": b"\xff",
        b"X-Workspace-ID": b"9" * 400,
        b"Accept-Encoding": b"\xff;q=\xff",
        b"Stripe-Signature": b"t=" + b"9" * 400 + b",v1=00",
    },
)
#: Whole bodies.
NO_TEXT = (
    b"\xff\xfe",
    b'"\xff"',
    b'{"a": "\xc3\x28"}',
    b'{"url": "\xed\xa0\x80"}',
    b'{"\xff": 1}',
    "{}".encode("utf-16"),
)
DEEP = (b"[" * 5_000, b'{"a":' * 20_000 + b"1" + b"}" * 20_000)
#: What stands for one field of a body, as JSON, by what the field takes.
FOR_TEXT = (rb'"a\u0000b"', rb'"\ud800"', b'"http://["', b'"\xc2\xb2"', f'"{ENDS[3]}"'.encode())
FOR_NUMBERS = (b"9" * 400, b"1e999", b"-1", b"9223372036854775808")
FOR_OTHERS = (rb'{"\u0000": "\ud800"}', b"[" * 2_000 + b"]" * 2_000, rb'["a\u0000b"]')
PARTS = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xff\xfe.wav"\r\n\r\nRIFF\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="a\0b"; filename="a\0b"\r\n\r\nRIFF\r\n--b--\r\n',
    b"--b\r\n\xff\xfe\r\n\r\n--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="idempotency_key"\r\n\r\n\xff\xfe\r\n--b--\r\n',
    b"--b",
    b"\xff" * 2_000,
)
SHEETS = (b"PK\x03\x04\xff\xff", b"\x1f\x8b\x08\xff\xff", b"a,b\n\xff\xfe,\0\n", b"ISRC\0,\xb2\n", b"")

#: What takes the ground from under whoever asks it, and so is asked by somebody new each time.
ENDS_THE_VISIT = {
    ("POST", "/v1/auth/logout"),
    ("DELETE", "/v1/account/profile"),
    ("DELETE", "/v1/account/workspaces/{workspace_id}"),
}
FORM = "multipart/form-data; boundary=b"


# --- somebody who has one of each -------------------------------------------------------------------------------------


@dataclass
class Scene:
    """Somebody with one of each thing that paths name, and a runner that builds for them."""

    http: httpx.Client
    source: Path
    owner: Visitor = field(init=False)
    things: dict[str, dict[str, str]] = field(init=False)
    runner: str = field(init=False)
    webhook_secret: str = field(init=False)

    def __post_init__(self) -> None:
        self.owner = owner = sign_in(self.http)
        project = made(owner.post("/functions/v1/projects", {"name": "Odd", "webhook_url": "https://example.com/b"}))
        linked = {"project_id": project["id"], "repo_full_name": str(self.source)}
        made(owner.post("/functions/v1/plugin-repos/link", linked))
        build = made(owner.post("/functions/v1/builds", {"project_id": project["id"], "formats": ["lv2"]}))
        token = made(owner.post("/functions/v1/runners/registration-token"))["token"]
        about = {"token": token, "name": "odd", "platforms": ["linux"], "formats": ["lv2"]}
        runner = made(self.http.post("/functions/v1/runner/register", json=about))
        self.runner = runner["token"]
        job = made(self.http.post("/functions/v1/runner/claim", json={}, headers=self._shown(self.runner)))
        key = made(owner.post("/functions/v1/plugin-activation/generate", {"project_id": project["id"]}))
        self.webhook_secret = project["webhook_secret"]
        workspace = {
            "project_id": project["id"],
            "build_id": build["id"],
            "code": key["code"],
            "runner_id": runner["runner_id"],
            "api_key_id": owner.key()["id"],
            "user_id": owner.user_id,
            "workspace_id": owner.workspace_id,
            "beat_id": made(
                owner.post("/api/generate/beat", {"categoryName": "LoFi – Melodic/Calm", "mode": "metadata_only"})
            )["beat"]["id"],
            "isrc": "USRC17607839",
            "endpoint_id": made(owner.post("/v1/webhook-endpoints", {"url": "https://example.com/a"}))["id"],
            "version_number": "1",
            "name": "platform.json",
        }
        made(owner.post("/api/v1/tracks", {"isrc": "USRC17607839", "title": "Odd", "artist": "Odd"}))
        analysis = made(owner.post("/v1/analyses", {"source_url": "https://example.com/a.wav"}))
        self.things = {"": workspace | {"job_id": analysis["id"]}, "/functions/v1/runner/": {"job_id": job["job_id"]}}

    @staticmethod
    def _shown(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    def at(self, template: str, changed: Mapping[str, str] = {}) -> str:
        """A path about what is there."""
        known: dict[str, str] = defaultdict(lambda: "nothing")
        for prefix, things in self.things.items():
            known |= things if template.startswith(prefix) else {}
        known |= changed
        return re.sub(r"{(\w+)}", lambda found: known[found[1]], template)

    def headers(self, method: str, template: str, operation: Mapping[str, Any], body: bytes) -> dict[str, str]:
        """What shows who asks: the owner, their runner, or what calls from elsewhere."""
        if template == "/functions/v1/github-app-callback/webhook":
            signature = hmac.new(GITHUB_SECRET.encode(), body, "sha256").hexdigest()
            told = {"X-GitHub-Event": "push", "X-GitHub-Delivery": str(uuid4())}
            return {"X-Hub-Signature-256": f"sha256={signature}", **told}
        if template.startswith("/functions/v1/external-builds"):
            return {"X-Webhook-Secret": self.webhook_secret}
        if template.startswith("/functions/v1/runner/"):
            return self._shown(self.runner)
        if (method, template) in ENDS_THE_VISIT:
            return self._shown(sign_in(self.http).token)
        return self._shown(self.owner.token) if "security" in operation else {}


def made(answer: httpx.Response) -> Json:
    """What somebody was given."""
    assert answer.is_success, answer.text
    found: Json = answer.json()
    return found


# --- what is sent -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attack:
    """One request: where, with what."""

    path: str
    query: str = ""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    body: bytes | None = None
    media_type: str = "application/json"


def attacks(contract: Json, scene: Scene, method: str, template: str, operation: Mapping[str, Any]) -> Iterator[Attack]:
    """Requests to one operation, each of them odd in one place and otherwise as an example shows it."""
    call = call_of(contract, method, template, operation)
    here = scene.at(template)
    query = "&".join(f"{name}={quote(value)}" for name, value in call.query.items())
    whole = None if call.body is None else json.dumps(call.body).encode()
    media_type = "application/json" if call.file is None else call.file
    ordinary = Attack(here, query, body=whole, media_type=media_type)
    for name in re.findall(r"{(\w+)}", template):
        for value in IN_PATH:
            yield Attack(scene.at(template, {name: value}), query, body=whole, media_type=media_type)
    for each in operation.get("parameters", ()):
        if each["in"] != "query":
            continue
        others = [f"{name}={quote(value)}" for name, value in call.query.items() if name != each["name"]]
        for value in IN_QUERY:
            yield Attack(here, "&".join([*others, f"{each['name']}={value}"]), body=whole, media_type=media_type)
    yield Attack(here, "%ff=%ed%a0%80&%00", body=whole, media_type=media_type)
    for headers in IN_HEADERS:
        yield Attack(here, query, headers, ordinary.body, media_type)
    if "requestBody" not in operation:
        return
    if call.form is not None:
        for part in PARTS:
            yield Attack(here, query, body=part, media_type=FORM)
        yield Attack(here, query, body=b"RIFF", media_type="multipart/form-data")
        return
    for body in (*NO_TEXT, *DEEP, *(SHEETS if call.file is not None else ())):
        yield Attack(here, query, body=body, media_type=media_type)
    yield Attack(here, query, body=b"\xff\xfe=\xff", media_type="application/x-www-form-urlencoded")
    yield Attack(here, query, body=PARTS[0], media_type=FORM)
    if isinstance(call.body, dict):
        for body in _bodies(contract, operation, call.body):
            yield Attack(here, query, body=body)


def _bodies(contract: Json, operation: Mapping[str, Any], shown: Json) -> Iterator[bytes]:
    """The body of an example with one field after the other made odd."""
    shape = resolved(contract, operation["requestBody"]["content"]["application/json"].get("schema", {}))
    for name, part in shape.get("properties", {}).items():
        for value in _odd(json.dumps(part)):
            yield json.dumps({**shown, name: "~"}).encode().replace(b'"~"', value, 1)


def _odd(part: str) -> tuple[bytes, ...]:
    chosen: tuple[bytes, ...] = ()
    for kinds, values in ((("integer", "number"), FOR_NUMBERS), (("string", "$ref"), FOR_TEXT)):
        chosen += values if any(f'"{kind}"' in part for kind in kinds) else ()
    return chosen + (FOR_OTHERS if "$ref" in part or not chosen else ())


# --- what must come of it ---------------------------------------------------------------------------------------------


@cache
def _refusal(template: str, status: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(surface_at(template).shape(status))


@cache
def _success(contract: bytes, schema: bytes) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(json.loads(schema) | {"components": json.loads(contract)})


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    media_type: str
    content: bytes


def sent(raw: HTTPConnection, method: str, attack: Attack, headers: Mapping[bytes, bytes]) -> Answer:
    """One request on a connection that is kept; the clients for people look at each more closely than they need to."""
    raw.putrequest(method, f"{attack.path}?{attack.query}".rstrip("?"), skip_accept_encoding=True)
    for name, value in headers.items():
        raw.putheader(name.decode(), value)
    if attack.body is not None:
        raw.putheader("Content-Length", str(len(attack.body)))
    raw.endheaders(attack.body)
    answer = raw.getresponse()
    return Answer(answer.status, answer.headers.get_content_type(), answer.read())


def fault_of(answer: Answer, template: str, operation: Mapping[str, Any], components: bytes) -> str | None:
    """What is wrong with an answer: a mistake of ours, or a status, a media type or a shape that is not documented."""
    status, said = answer.status, answer.content[:200]
    if status >= 500:
        return f"{said!r}"
    if str(status) not in operation["responses"]:
        return f"undocumented: {said!r}"
    told = operation["responses"][str(status)].get("content", {})
    media = next((each for each in (answer.media_type, "*/*") if each in told), None)
    if media is None:
        return f"undocumented {answer.media_type}: {said!r}" if told or answer.content else None
    if media == "application/json":
        schema = json.dumps(told[media]["schema"]).encode()
        try:
            shape = _refusal(template, str(status)) if status >= 400 else _success(components, schema)
            shape.validate(json.loads(answer.content))
        except (ValueError, jsonschema_rs.ValidationError) as problem:
            return f"another shape: {str(problem)[:200]}: {said!r}"
    return None


def test_whatever_bytes_are_sent_every_route_refuses_in_its_own_shape_and_all_that_is_kept_can_be_read(
    everything_on: Process, tmp_path: Path
) -> None:
    source = repository(tmp_path / "odd", lv2_with_make())
    port = everything_on.settings[Service].port
    faults: list[str] = []
    tried: Counter[str] = Counter()
    before = len(everything_on.log)
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http,
        closing(HTTPConnection("127.0.0.1", port, timeout=60)) as raw,
    ):
        parked = made(http.get("/ready"))["parked_events"]
        contract = http.get("/openapi.json").json()
        components = json.dumps(contract["components"]).encode()
        scene = Scene(http, source)
        # What is deleted is missed by what comes later.
        in_order = sorted(operations(contract), key=lambda each: each[0] == "DELETE")
        for method, template, operation in in_order:
            for attack in attacks(contract, scene, method, template, operation):
                shown = scene.headers(method, template, operation, attack.body or b"")
                headers = {**{name.encode(): value.encode() for name, value in shown.items()}, **attack.headers}
                if attack.body is not None:
                    headers[b"Content-Type"] = attack.media_type.encode()
                answer = sent(raw, method, attack, headers)
                tried[f"{method} {template}"] += 1
                if (fault := fault_of(answer, template, operation, components)) is not None:
                    faults.append(f"{method} {attack}"[:400] + f": {answer.status} {fault}")

        assert set(tried) == {f"{method} {template}" for method, template, _ in operations(contract)}
        assert not faults, f"{len(faults)} of {tried.total()}\n" + "\n".join(faults[:40])
        # What was taken can be read, by whoever lists it and by whoever folds it.
        for path in ("/v1/audit-events?limit=200", "/v1/events?after=0&limit=1000", "/v1/webhook-endpoints"):
            assert scene.owner.get(path).status_code == 200, path
        assert eventually(lambda: _settled(http))["parked_events"] == parked
    assert "request.broken" not in everything_on.log[before:]


def _settled(http: httpx.Client) -> Json:
    found = made(http.get("/ready"))
    return found if found["behind_events"] == 0 else {}


# --- the ends of the calendar, and zeros ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bearer(client: httpx.Client) -> dict[str, str]:
    """Somebody who may do everything in a workspace of their own."""
    return {"Authorization": f"Bearer {sign_in(client).token}"}


@pytest.mark.parametrize("moment", ENDS)
@pytest.mark.parametrize("end", ["since", "until"])
def test_the_audit_is_not_asked_for_the_ends_of_the_calendar(
    client: httpx.Client, bearer: dict[str, str], moment: str, end: str
) -> None:
    answer = client.get("/v1/audit-events", params={end: moment}, headers=bearer)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", end]


@pytest.mark.parametrize("moment", ENDS)
def test_a_key_does_not_expire_at_the_ends_of_the_calendar_and_the_audit_is_read_on(
    client: httpx.Client, bearer: dict[str, str], moment: str
) -> None:
    wish: dict[str, Any] = {"name": "for ever", "scopes": ["usage:read"], "expires_at": moment}
    answer = client.post("/v1/api-keys", json=wish, headers=bearer)

    assert answer.status_code in (409, 422), answer.text
    assert client.get("/v1/audit-events", headers=bearer).status_code == 200
    assert client.get("/v1/events", headers=bearer).status_code == 200


def test_names_with_a_zero_character_are_refused(
    client: httpx.Client, account: Callable[[], Account], bearer: dict[str, str], stack: Stack
) -> None:
    answers = [
        client.post("/v1/auth/register", json={"email": "a\0b@example.com"}),
        client.post("/v1/api-keys", json={"name": "a\0b", "scopes": ["usage:read"]}, headers=bearer),
        account().post("/v1/analyze/url", json={"audio_url": "https://example.com/a\0b.wav"}),
    ]

    assert {answer.status_code for answer in answers} == {422}
    assert "request.broken" not in stack.log
