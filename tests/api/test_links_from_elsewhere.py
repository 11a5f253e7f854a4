"""Everything that is behind a signed link, used from another address than the service's own: there, or at the store."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from adapters.storage.settings import S3
from domain.sections import Url
from infra.embedded.processes import free_ports
from tests.builds.test_over_http import BUILDS, Played, asked, project_of, runner_of
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack, eventually
from tests.runner.projects import lv2_with_make, repository

WAV = {"Content-Type": "audio/wav"}
PLUGIN = b"\x7fELF, as it were" * 5000


@pytest.fixture(scope="module")
def me(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def job_id(me: Visitor, clip: bytes) -> str:
    """An analysis of which there are pictures."""
    made: str = me.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)}).json()["job_id"]

    def drawn() -> bool:
        artifact = me.get(f"/v1/analyses/{made}/result").json().get("report_artifact")
        return artifact is not None and len(artifact["files"]) == 5

    eventually(drawn, 120)
    return made


@pytest.fixture(scope="module")
def beat_id(me: Visitor, clip: bytes) -> str:
    """A beat with a version that somebody has brought."""
    body = {"categoryName": "Trap – Dark/Aggressive", "mode": "metadata_only"}
    made: str = me.post("/api/generate/beat", body).json()["beat"]["id"]
    answer = me.post(f"/api/beats/{made}/upload", files={"file": ("mine.wav", clip)}, data={"setPrimary": "true"})
    assert answer.status_code == 200, answer.text
    return made


@pytest.fixture(scope="module")
def project_id(me: Visitor, tmp_path_factory: pytest.TempPathFactory) -> str:
    return project_of(me, repository(tmp_path_factory.mktemp("repos") / "tiny", lv2_with_make()))


@pytest.fixture(scope="module")
def runner(me: Visitor) -> Played:
    return runner_of(me)


class Way:
    """How somebody elsewhere reaches the service, and where links are to lead."""

    def __init__(self, http: httpx.Client, objects: str) -> None:
        self.http = http
        self.objects = objects


@pytest.fixture(scope="module", params=["as asked", "public", "store"])
def way(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Way]:
    [port] = free_ports(1)
    asked_at, public = f"127.0.0.2:{port}", f"127.0.0.3:{port}"
    ways: dict[str, dict[str, Any]] = {
        "as asked": {},
        # Not in development, as where `up` is bound to an address that others reach.
        "public": {"public_url": Url(f"http://{public}"), "env": "production"},
        "store": {"s3_public_url": stack.settings[S3].s3_url},
    }
    with (
        stack.door(host="0.0.0.0", port=port, **ways[request.param]),
        httpx.Client(base_url=f"http://{asked_at}") as http,
    ):
        store = urlsplit(stack.settings[S3].s3_url).netloc
        yield Way(http, {"as asked": asked_at, "public": public, "store": store}[request.param])


def reads(link: str, way: Way, content: bytes | None = None) -> None:
    """Whoever has the link reads all of it and any part."""
    assert urlsplit(link).netloc == way.objects
    whole = httpx.get(link)
    assert whole.status_code == 200, whole.text
    assert content is None or whole.content == content
    part = httpx.get(link, headers={"Range": "bytes=5-14"})
    assert (part.status_code, part.content) == (206, whole.content[5:15])
    assert part.headers["content-range"] == f"bytes 5-14/{len(whole.content)}"


def test_recordings_go_up_and_pictures_and_details_come_down(me: Visitor, way: Way, job_id: str, clip: bytes) -> None:
    there = replace(me, http=way.http)
    offer = there.post("/v1/storage-objects", {"purpose": "upload", "content_type": "audio/wav"}).json()
    assert urlsplit(offer["signed_url"]).netloc == way.objects
    assert httpx.put(offer["signed_url"], content=clip, headers=WAV).status_code == 200
    assert there.post("/v1/analyses", {"storage_object_id": offer["id"]}).status_code == 202
    artifact = there.get(f"/v1/analyses/{job_id}/result").json()["report_artifact"]
    assert len(artifact["files"]) == 5
    for link in (artifact["detail_url"], *(each["url"] for each in artifact["files"])):
        reads(link, way)


def test_beats_are_heard(me: Visitor, way: Way, beat_id: str, clip: bytes) -> None:
    there = replace(me, http=way.http)
    [version] = there.get(f"/api/beats/{beat_id}").json()["versions"]
    reads(version["sunoAudioUrl"], way, clip)


def test_artifacts_go_up_and_come_down(me: Visitor, way: Way, project_id: str, runner: Played) -> None:
    there, elsewhere = replace(me, http=way.http), Played(way.http, runner.token)
    build = asked(there, project_id)
    assert elsewhere.claim()["build_id"] == build["id"]
    elsewhere.tell("steps", current_step="uploading")
    about = {
        "format": "clap",
        "file_name": "Tiny.clap",
        "file_size": len(PLUGIN),
        "checksum_sha256": hashlib.sha256(PLUGIN).hexdigest(),
    }
    place = elsewhere.tell("artifacts", **about).json()
    assert urlsplit(place["upload_url"]).netloc == way.objects
    assert httpx.put(place["upload_url"], content=PLUGIN, headers=place["headers"]).status_code == 200
    assert elsewhere.tell(f"artifacts/{place['artifact_id']}/complete", **about).status_code == 201
    assert elsewhere.tell("finish", status="success").status_code == 200
    [artifact] = there.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
    reads(there.get(f"{BUILDS}/{build['id']}/download/{artifact['id']}").json()["url"], way, PLUGIN)


def begin_to_read(link: str) -> socket.socket:
    """A reader who reads the first bytes and no more."""
    place = urlsplit(link)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    connection.settimeout(30)
    connection.connect((place.hostname, place.port))
    connection.sendall(f"GET {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    return connection


def test_next_to_nothing_is_held_of_what_nobody_reads(
    me: Visitor, project_id: str, runner: Played, stack: Stack
) -> None:
    """Of twenty times forty megabytes, no more than pieces of one each."""
    build, plugin = asked(me, project_id), bytes(40 * 1024 * 1024)
    runner.claim()
    runner.tell("steps", current_step="uploading")
    assert runner.deliver("Large.clap", plugin).status_code == 201
    runner.tell("finish", status="success")
    [artifact] = me.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
    link = me.get(f"{BUILDS}/{build['id']}/download/{artifact['id']}").json()["url"]
    before = stack.process.memory_bytes
    with ExitStack() as readers:
        for _ in range(20):
            readers.enter_context(begin_to_read(link))
        # One who reads all of it is not held up, and by then the others' would be here as well.
        assert len(httpx.get(link, timeout=60).content) == len(plugin)
        assert stack.process.memory_bytes - before < 200 * 1024 * 1024
