"""Objects behind signed links, through the service's own port."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from adapters.storage.settings import S3
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Account, Neighbour, Stack, eventually

WAV = {"Content-Type": "audio/wav"}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def me(client: httpx.Client) -> Visitor:
    return sign_in(client)


def bearer(me: Visitor) -> dict[str, str]:
    return {"Authorization": f"Bearer {me.token}"}


def room(me: Visitor, **more: Any) -> dict[str, Any]:
    answer = me.post("/v1/storage-objects", {"purpose": "upload", "content_type": "audio/wav", **more})
    assert answer.status_code == 201, answer.text
    offer: dict[str, Any] = answer.json()
    return offer


def report(me: Visitor, job_id: str) -> dict[str, Any]:
    def drawn() -> Any:
        found = me.get(f"/v1/analyses/{job_id}/result").json()["report_artifact"]
        return found if found and len(found["files"]) == 5 else None

    found: dict[str, Any] = eventually(drawn, 60)
    return found


@pytest.fixture(scope="module")
def files(me: Visitor, clip: bytes) -> list[str]:
    """Links to the files of a report: its detail, then its pictures."""
    job_id = me.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)}).json()["job_id"]
    return [each["url"] for each in report(me, job_id)["files"]]


@pytest.fixture(scope="module")
def picture(files: list[str]) -> str:
    """A link to a picture."""
    return files[1]


# --- where links lead -------------------------------------------------------------------------------------------------


def test_links_lead_to_the_public_url_where_there_is_one(me: Visitor, stack: Stack) -> None:
    with stack.door(public_url="https://beats.example/api") as url:
        body = {"purpose": "upload", "content_type": "audio/wav"}
        offer = httpx.post(f"{url}/v1/storage-objects", json=body, headers=bearer(me)).json()
    assert offer["signed_url"].startswith(f"https://beats.example/api/objects/{offer['key']}?")


def test_links_lead_straight_to_the_store_where_its_public_url_is_known(me: Visitor, stack: Stack) -> None:
    with stack.door(s3_public_url="https://files.example") as url:
        body = {"purpose": "upload", "content_type": "audio/wav"}
        offer = httpx.post(f"{url}/v1/storage-objects", json=body, headers=bearer(me)).json()
    assert offer["signed_url"].startswith(f"https://files.example/{offer['bucket']}/{offer['key']}?X-Amz-")


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_picture_says_what_it_is_and_that_its_reader_should_ask_again(picture: str) -> None:
    answer = httpx.get(picture)
    assert answer.content.startswith(PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''overview.png"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["content-length"] == str(len(answer.content))
    head = httpx.head(picture)
    assert (head.status_code, head.content) == (200, b"")
    same = ("content-length", "content-type", "etag", "accept-ranges")
    assert {name: head.headers[name] for name in same} == {name: answer.headers[name] for name in same}
    again = httpx.get(picture, headers={"If-None-Match": f'"other", {answer.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")


def test_a_tag_is_that_of_one_object(files: list[str]) -> None:
    answers = [httpx.get(url) for url in files]
    tags = [answer.headers["etag"] for answer in answers]
    assert len(set(tags)) == len({answer.content for answer in answers}) > 1
    for url, tag in zip(files, tags[1:], strict=False):
        assert httpx.get(url, headers={"If-None-Match": tag}).status_code == 200


def test_one_part_of_an_object_is_read(picture: str) -> None:
    whole = httpx.get(picture)
    size = len(whole.content)
    for asked, first, last in [
        ("bytes=0-7", 0, 7),
        ("bytes=100-", 100, size - 1),
        ("bytes=-10", size - 10, size - 1),
        (f"bytes=5-{size * 9}", 5, size - 1),
        (f"bytes=-{size * 9}", 0, size - 1),
    ]:
        part = httpx.get(picture, headers={"Range": asked})
        assert part.status_code == 206, asked
        assert part.content == whole.content[first : last + 1]
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
    for asked in (f"bytes={size}-", "bytes=-0"):
        none = httpx.get(picture, headers={"Range": asked})
        assert none.status_code == 416
        assert none.headers["content-range"] == f"bytes */{size}"
        assert "detail" in none.json()
    for ignored in ("bytes=0-1,4-5", "bytes=-", "frames=0-1", "bytes=a-b"):
        assert httpx.get(picture, headers={"Range": ignored}).content == whole.content
    changed = httpx.get(picture, headers={"Range": "bytes=0-7", "If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, whole.content)


# --- what links refuse ------------------------------------------------------------------------------------------------


def altered(url: str) -> Iterator[str]:
    """The link with each of its parts changed in turn."""
    place = urlsplit(url)
    yield f"{place.scheme}://{place.netloc}{place.path}"
    yield url.replace("/objects/", "/objects/x")
    for name, (value,) in parse_qs(place.query).items():
        other = str(int(value) + 1) if value.isdigit() else value[:-1] + ("A" if value[-1] != "A" else "B")
        yield url.replace(f"{name}={value}", f"{name}={other}") if "/" not in value else url.replace("wav", "wax")
        if value == "0":
            continue  # what is not said is nothing
        yield url.replace(f"{name}={value}", "") if "/" not in value else url.replace("content_type", "other")


def test_whoever_changes_anything_of_a_link_opens_nothing(me: Visitor, picture: str, clip: bytes) -> None:
    written = room(me, size_bytes=len(clip))["signed_url"]
    links = [*altered(picture), written]
    assert len(links) > 8
    for link in links:
        refused = httpx.get(link)
        assert refused.status_code == 403, link
        assert "Ask for a new one." in refused.json()["detail"]
    puts = [*altered(written), picture]
    assert len(puts) > 12
    for link in puts:
        assert httpx.put(link, content=clip, headers=WAV).status_code == 403, link
    assert httpx.put(written, content=clip, headers=WAV).status_code == 200


@pytest.mark.parametrize("query", ["expires=99999999999999999999", "workspace=%00", "tenancy=-1", "signature=%ff"])
def test_what_is_no_link_at_all_is_refused(client: httpx.Client, query: str) -> None:
    assert client.get(f"/objects/a/b?{query}").status_code in (403, 422)
    assert client.get("/objects/%00%ff/../x").status_code in (403, 404)


def test_an_expired_link_opens_nothing(me: Visitor, stack: Stack, clip: bytes) -> None:
    with stack.door(upload_link_seconds=1) as url:
        body = {"purpose": "upload", "content_type": "audio/wav"}
        link = httpx.post(f"{url}/v1/storage-objects", json=body, headers=bearer(me)).json()["signed_url"]
        eventually(lambda: httpx.put(link, content=clip, headers=WAV).status_code == 403)
        assert "expired" in httpx.put(link, content=clip, headers=WAV).json()["detail"]


def test_an_upload_to_a_used_object_is_refused(me: Visitor, clip: bytes) -> None:
    offer = room(me)
    assert httpx.put(offer["signed_url"], content=clip, headers=WAV).status_code == 200
    assert me.post("/v1/analyses", {"storage_object_id": offer["id"]}).status_code == 202
    assert httpx.put(offer["signed_url"], content=clip, headers=WAV).status_code == 409


def test_links_of_a_forgotten_workspace_are_void(client: httpx.Client, clip: bytes) -> None:
    person = sign_in(client)
    offer = room(person)
    job_id = person.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)}).json()["job_id"]
    shown = report(person, job_id)["files"][1]["url"]
    assert person.request("DELETE", f"/v1/account/workspaces/{person.workspace_id}").status_code == 200
    assert httpx.put(offer["signed_url"], content=clip, headers=WAV).status_code == 403
    assert httpx.get(shown).status_code == 403


def test_links_that_a_stranger_was_given_are_void_once_the_owner_has_proved_the_address(
    account: Callable[[], Account], stack: Stack, clip: bytes
) -> None:
    stranger = account()
    body = {"purpose": "upload", "content_type": "audio/wav"}
    with stack.door(s3_public_url=stack.settings[S3].s3_url) as url:
        direct = httpx.post(f"{url}/v1/storage-objects", json=body, headers=stranger.headers).json()
    offer = stranger.post("/v1/storage-objects", json=body).json()
    job_id = stranger.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)}).json()["job_id"]
    shown = eventually(lambda: stranger.get(f"/v1/analyses/{job_id}/result").json()["report_artifact"])["detail_url"]
    assert httpx.get(shown).status_code == 200
    owner = sign_in(stranger.http, stranger.email)
    assert owner.workspace_id == stranger.workspace_id
    assert httpx.put(offer["signed_url"], content=clip, headers=WAV).status_code == 403
    assert httpx.get(shown).status_code == 403
    # The store's own links cannot be taken back; but nothing is made of what comes by them.
    assert httpx.put(direct["signed_url"], content=clip, headers=WAV).status_code == 200
    for each in (offer, direct):
        answer = owner.post("/v1/analyses", {"storage_object_id": each["id"]})
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no storage object with this id.")


def send_slowly(url: str, head: str, first: bytes) -> socket.socket:
    """A connection that has sent a head and some of its body."""
    place = urlsplit(url)
    assert place.hostname is not None
    connection = socket.create_connection((place.hostname, place.port or 80), timeout=20)
    request = (
        f"PUT {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: audio/wav\r\n{head}\r\n\r\n"
    )
    connection.sendall(request.encode() + first)
    return connection


def test_an_upload_that_arrives_when_its_workspace_is_forgotten_is_not_kept(
    client: httpx.Client, stack: Stack, clip: bytes
) -> None:
    person = sign_in(client)
    offer = room(person)
    with send_slowly(offer["signed_url"], f"Content-Length: {len(clip)}", clip[:1000]) as connection:
        assert person.request("DELETE", f"/v1/account/workspaces/{person.workspace_id}").status_code == 200
        connection.sendall(clip[1000:])
        assert b" 403 " in connection.recv(4096).partition(b"\r\n")[0]
    assert offer["key"] not in stack.objects("storage/")


def test_an_upload_that_breaks_off_is_not_kept(me: Visitor, stack: Stack, clip: bytes) -> None:
    offer = room(me)
    send_slowly(offer["signed_url"], f"Content-Length: {len(clip)}", clip[:1000]).close()
    assert httpx.put(offer["signed_url"], content=clip, headers={"Content-Type": "text/html"}).status_code == 403
    assert offer["key"] not in stack.objects("storage/")


def test_an_announced_size_counts_also_where_no_length_is_sent(me: Visitor, stack: Stack, clip: bytes) -> None:
    offer = room(me, size_bytes=len(clip))
    for other in (clip[:-1], clip + b"x"):
        pieces = iter([other[:1000], other[1000:]])
        assert httpx.put(offer["signed_url"], content=pieces, headers=WAV).status_code == 403
    assert offer["key"] not in stack.objects("storage/")
    whole = iter([clip[:1000], clip[1000:]])
    stored = httpx.put(offer["signed_url"], content=whole, headers=WAV)
    assert (stored.status_code, stored.content) == (200, b"")
    assert stored.headers["etag"]


def test_more_than_any_recording_may_have_is_refused(me: Visitor, stack: Stack, small: str) -> None:
    body = {"purpose": "upload", "content_type": "audio/wav"}
    offer = httpx.post(f"{small}/v1/storage-objects", json=body, headers=bearer(me)).json()
    for content in (b"x" * 1001, iter([b"x" * 500, b"x" * 501])):
        answer = httpx.put(offer["signed_url"], content=content, headers=WAV)
        assert answer.status_code == 413
        assert "larger" in answer.json()["detail"]
    assert offer["key"] not in stack.objects("storage/")


def test_a_recording_is_sent_as_it_is(me: Visitor, stack: Stack, clip: bytes) -> None:
    offer = room(me)
    for odd in ({"Content-Encoding": "gzip"}, {"Content-Range": "bytes 0-1/9"}):
        assert httpx.put(offer["signed_url"], content=clip, headers={**WAV, **odd}).status_code == 422
    assert offer["key"] not in stack.objects("storage/")
    unsigned = {"Content-Disposition": "inline; filename=evil.html", "Cache-Control": "public", **WAV}
    assert httpx.put(offer["signed_url"], content=clip, headers=unsigned).status_code == 200


def test_an_object_that_is_gone_is_not_found(me: Visitor, audio: Neighbour, clip: bytes, stack: Stack) -> None:
    job = me.post("/v1/analyses", {"source_url": audio.put("gone.wav", clip)}).json()
    url = report(me, job["id"])["files"][1]["url"]
    stack.delete_object(urlsplit(url).path.removeprefix("/objects/"))
    assert httpx.get(url).status_code == 404
