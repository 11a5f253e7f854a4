"""Builds over HTTP: every documented operation against its document, and a runner that is played by the test."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from adapters.storage.settings import S3
from tests.api.test_held_bodies import held
from tests.identity.crowd import Visitor, join, new_email, sign_in
from tests.journeys.kit import Stack, eventually
from tests.runner.projects import lv2_with_make, repository

BUILDS = "/functions/v1/builds"
RUNNER = "/functions/v1/runner"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass
class Played:
    """A runner that does what the test says."""

    http: httpx.Client
    token: str
    job: dict[str, Any] = field(default_factory=dict)

    def ask(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(f"{RUNNER}{path}", json=body, headers={"Authorization": f"Bearer {self.token}"})

    def claim(self) -> dict[str, Any]:
        answer = self.ask("/claim")
        assert answer.status_code == 200, answer.text
        self.job = answer.json()
        return self.job

    def tell(self, what: str, **body: Any) -> httpx.Response:
        return self.ask(f"/jobs/{self.job['job_id']}/{what}", **{"fence": self.job["fence"], **body})

    def print(self, offset: int, text: bytes, fence: int | None = None) -> httpx.Response:
        return self.http.post(
            f"{RUNNER}/jobs/{self.job['job_id']}/logs",
            params={"offset": offset, "fence": fence or self.job["fence"]},
            content=text,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/octet-stream"},
        )

    def deliver(self, name: str, data: bytes, **changed: Any) -> httpx.Response:
        about = {
            "format": "clap",
            "file_name": name,
            "file_size": len(data),
            "checksum_sha256": hashlib.sha256(data).hexdigest(),
        } | changed
        place = self.tell("artifacts", **about)
        assert place.status_code == 201, place.text
        put = self.http.put(place.json()["upload_url"], content=data, headers=place.json()["headers"])
        assert put.status_code == 200, put.text
        return self.tell(f"artifacts/{place.json()['artifact_id']}/complete", **about)


@pytest.fixture(scope="module")
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


def runner_of(who: Visitor, *formats: str, platform: str = "linux") -> Played:
    token = who.post("/functions/v1/runners/registration-token").json()["token"]
    about = {"token": token, "name": "bench", "platforms": [platform], "formats": list(formats) or ["clap", "lv2"]}
    answer = who.http.post(f"{RUNNER}/register", json=about)
    assert answer.status_code == 201, answer.text
    return Played(who.http, answer.json()["token"])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("repos") / "tiny", lv2_with_make())


def project_of(who: Visitor, source: Path | None = None, **more: Any) -> str:
    made = who.post("/functions/v1/projects", {"name": "Tiny", **more})
    assert made.status_code == 201, made.text
    project_id = str(made.json()["id"])
    if source is not None:
        linked = who.post("/functions/v1/plugin-repos/link", {"project_id": project_id, "repo_full_name": str(source)})
        assert linked.status_code == 200, linked.text
    return project_id


def asked(who: Visitor, project_id: str, **more: Any) -> dict[str, Any]:
    answer = who.post(BUILDS, {"project_id": project_id, "formats": ["clap"], **more})
    assert answer.status_code == 201, answer.text
    build: dict[str, Any] = answer.json()
    return build


def refusal(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error", "message", "details"}
    return answer.status_code, body["error"]


def status(who: Visitor, build_id: str) -> str:
    return str(who.get(f"{BUILDS}/{build_id}").json()["status"])


# --- the documented operations ----------------------------------------------------------------------------------------


def test_a_build_is_asked_for_as_documented(developer: Visitor, source: Path) -> None:
    project_id = project_of(developer, source)
    answer = developer.post(
        BUILDS,
        {
            "project_id": project_id,
            "platforms": ["macos", "windows"],
            "formats": ["vst3", "au"],
            "release_type": "patch",
            "flags": {"enableActivationKeys": True, "enableCreatorMode": False, "enableDebugMode": False},
        },
    )
    assert answer.status_code == 201
    build = answer.json()
    assert str(UUID(build["id"])) == build["id"]
    assert build["project_id"] == project_id
    assert build["status"] in ("pending", "queued")
    assert build["version_number"] == "0.0.1"
    assert build["build_number"] == 1
    assert build["platforms"] == ["macos", "windows"]
    assert build["formats"] == ["vst3", "au"]
    assert MOMENT.fullmatch(build["queued_at"])
    assert asked(developer, project_id)["build_number"] == 2

    again = developer.get(f"{BUILDS}/{build['id']}").json()
    assert set(again) >= {
        "id", "project_id", "status", "version_number", "build_number", "platforms", "formats", "metadata",
        "queued_at", "started_at", "github_run_url",
    }  # fmt: skip
    assert again["metadata"] == {"current_step": None, "step_progress": None}
    assert eventually(lambda: status(developer, build["id"]) == "queued")


def test_builds_are_listed_as_documented(developer: Visitor, source: Path) -> None:
    project_id = project_of(developer, source)
    made = [asked(developer, project_id)["id"] for _ in range(3)]
    developer.post(f"{BUILDS}/{made[0]}/cancel")

    listed = developer.get(BUILDS, params={"project_id": project_id, "limit": 2, "offset": 0}).json()
    assert {name: listed[name] for name in ("total", "limit", "offset")} == {"total": 3, "limit": 2, "offset": 0}
    assert [each["id"] for each in listed["builds"]] == [made[2], made[1]]
    assert set(listed["builds"][0]) >= {"id", "project_id", "status", "version_number", "completed_at"}
    over = developer.get(BUILDS, params={"project_id": project_id, "status": "cancelled"}).json()
    assert [each["id"] for each in over["builds"]] == [made[0]]
    assert MOMENT.fullmatch(over["builds"][0]["completed_at"])
    assert developer.get(BUILDS, params={"project_id": str(uuid4())}).json()["total"] == 0
    assert developer.get(BUILDS).json()["limit"] == 20
    for wrong in ({"limit": 0}, {"limit": 101}, {"offset": -1}, {"status": "odd"}, {"limit": "x"}):
        assert refusal(developer.get(BUILDS, params=wrong)) == (400, "bad_request")


def test_a_build_is_cancelled_once_and_given_back(developer: Visitor, source: Path) -> None:
    project_id = project_of(developer, source)
    before = developer.get(f"{BUILDS}/usage").json()["used"]
    build = asked(developer, project_id)
    assert developer.get(f"{BUILDS}/usage").json()["used"] == before + 1
    for _ in range(2):
        answer = developer.post(f"{BUILDS}/{build['id']}/cancel")
        assert (answer.status_code, answer.json()) == (200, {"id": build["id"], "status": "cancelled"})
    assert developer.get(f"{BUILDS}/usage").json()["used"] == before


def test_usage_is_as_documented(developer: Visitor) -> None:
    usage = developer.get(f"{BUILDS}/usage").json()
    assert set(usage) == {"period", "used", "limit", "remaining", "extra_builds", "reset_at"}
    assert usage["period"] == time.strftime("%Y-%m", time.gmtime())
    assert usage["remaining"] == usage["limit"] + usage["extra_builds"] - usage["used"]
    assert re.fullmatch(r"\d{4}-\d\d-01T00:00:00Z", usage["reset_at"])


def test_refusals_are_as_documented(developer: Visitor, client: httpx.Client, source: Path) -> None:
    project_id = project_of(developer, source)
    build = asked(developer, project_id)
    stranger = sign_in(client)
    assert refusal(client.get(BUILDS)) == (401, "unauthorized")
    assert refusal(join(developer, "viewer").post(BUILDS, {"project_id": project_id})) == (403, "forbidden")
    for path in ("", "/artifacts", f"/download/{uuid4()}", "/logs"):
        assert refusal(stranger.get(f"{BUILDS}/{build['id']}{path}")) == (404, "not_found")
        assert refusal(developer.get(f"{BUILDS}/{uuid4()}{path}")) == (404, "not_found")
    assert refusal(stranger.post(f"{BUILDS}/{build['id']}/cancel")) == (404, "not_found")
    assert refusal(stranger.post(BUILDS, {"project_id": project_id})) == (404, "not_found")
    wrong: list[dict[str, Any]] = [
        {},
        {"project_id": 5},
        {"project_id": project_id, "formats": ["vst"]},
        {"project_id": project_id, "platforms": ["amiga"]},
        {"project_id": project_id, "platforms": ["linux"], "formats": ["au"]},
        {"project_id": project_id, "release_type": "huge"},
        {"project_id": project_id, "flags": {"x": []}},
        {"project_id": project_id, "flags": {str(n): True for n in range(51)}},
        {"project_id": project_id, "ref": "--upload-pack=x"},
        {"project_id": "a\0b"},
    ]
    for body in wrong:
        assert developer.post(BUILDS, body).status_code in (400, 404), body
    assert refusal(developer.post(BUILDS, {"project_id": project_id, "project_version_id": str(uuid4())}))[0] == 404


@pytest.fixture(scope="module")
def strict(stack: Stack) -> Iterator[httpx.Client]:
    """A process with the documented limit, a small quota, and leases that are soon over."""
    changed: dict[str, Any] = {"build_limit_per_minute": 10, "monthly_build_limits": {"free": 9}}
    changed |= {"build_claim_seconds": 0.1, "build_lease_seconds": 1.5, "github_app_id": ""}
    with stack.door(**changed) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http


def test_without_an_app_at_github_it_is_said_that_there_is_none(strict: httpx.Client, client: httpx.Client) -> None:
    answer = strict.post("/functions/v1/github-app-callback/install", headers=sign_in(client).headers)
    assert refusal(answer) == (503, "unavailable")


def test_the_quota_of_the_month_and_the_limit_of_the_minute_are_as_documented(
    strict: httpx.Client, client: httpx.Client, source: Path
) -> None:
    somebody = sign_in(client)
    body = {"project_id": project_of(somebody, source)}
    key = somebody.key("builds:write")["plaintext_key"]

    def ask(left: int) -> httpx.Response:
        answer = strict.post(BUILDS, json=body, headers={"X-API-Key": key})
        assert answer.headers["x-ratelimit-limit"] == "10"
        assert answer.headers["x-ratelimit-remaining"] == str(left)
        assert abs(int(answer.headers["x-ratelimit-reset"]) - time.time()) <= 61
        return answer

    for left in range(9, 0, -1):
        assert ask(left).status_code == 201
    usage = strict.get(f"{BUILDS}/usage", headers=somebody.headers).json()
    assert (usage["used"], usage["limit"], usage["remaining"]) == (9, 9, 0)
    spent = ask(0)
    assert refusal(spent) == (429, "quota_exceeded")
    assert int(spent.headers["retry-after"]) > 0
    assert refusal(ask(0)) == (429, "rate_limited")


def test_repositories_are_linked_and_unlinked_as_documented(developer: Visitor, source: Path) -> None:
    project_id = project_of(developer)
    place = "/functions/v1/plugin-repos"
    body = {"project_id": project_id, "repo_full_name": "username/my-plugin", "branch": "main"}
    answer = developer.post(f"{place}/link", body)
    assert (answer.status_code, answer.json()) == (
        200,
        {"success": True, "project_id": project_id, "source_repo_url": "https://github.com/username/my-plugin"},
    )
    for _ in range(2):
        gone = developer.post(f"{place}/unlink", {"project_id": project_id})
        assert (gone.status_code, gone.json()) == (200, {"success": True})
    made = developer.post(
        f"{place}/create-and-link",
        {
            "repo_full_name": "username/my-plugin",
            "name": "My Plugin",
            "description": "An awesome audio plugin",
            "visibility": "private",
        },
    )
    assert made.status_code == 201
    assert {**made.json(), "project_id": ""} == {
        "project_id": "",
        "name": "My Plugin",
        "source_repo_url": "https://github.com/username/my-plugin",
    }
    assert developer.get(f"/functions/v1/projects/{made.json()['project_id']}").json()["name"] == "My Plugin"
    for name in (
        "--upload-pack=touch /tmp/x", "ext::sh -c id", "a/../b", "/etc", "file:///etc", "https://10.0.0.1/a/b",
        "https://169.254.169.254/a", "http://example.org/a", "ssh://git@example.org/a", "a/b/c", "", "a\0/b", "-a/b",
    ):  # fmt: skip
        body = {"project_id": project_id, "repo_full_name": name}
        assert refusal(developer.post(f"{place}/link", body)) == (400, "bad_request"), name
    assert refusal(developer.post(f"{place}/link", {"project_id": str(uuid4()), "repo_full_name": "a/b"}))[0] == 404
    assert refusal(sign_in(developer.http).post(f"{place}/unlink", {"project_id": project_id}))[0] == 404


def test_a_build_waits_for_its_source(developer: Visitor, source: Path) -> None:
    project_id = project_of(developer)
    build = asked(developer, project_id)
    assert status(developer, build["id"]) == "pending"
    body = {"project_id": project_id, "repo_full_name": str(source)}
    assert developer.post("/functions/v1/plugin-repos/link", body).status_code == 200
    assert eventually(lambda: status(developer, build["id"]) == "queued")


def test_secrets_of_a_project_are_set_listed_by_name_and_removed_and_never_shown(
    client: httpx.Client, stack: Stack
) -> None:
    developer = sign_in(client)  # whose runner finds no other build
    project_id = project_of(developer)
    place = f"/functions/v1/projects/{project_id}/secrets"
    before = set(stack.objects("builds/"))

    def kept() -> set[str]:
        return {key for key in stack.objects("builds/") if "/secrets/" in key} - before

    told = developer.request("PUT", f"{place}/P12_PASSWORD", json={"value": "correct horse"})
    assert (told.status_code, set(told.json())) == (200, {"name", "set_at"})
    [first] = kept()
    assert developer.request("PUT", f"{place}/P12_PASSWORD", json={"value": "battery staple"}).status_code == 200
    [listed] = developer.get(place).json()["secrets"]
    assert listed["name"] == "P12_PASSWORD"
    runner = runner_of(developer)
    asked(developer, project_id)
    developer.post("/functions/v1/plugin-repos/link", {"project_id": project_id, "repo_full_name": "ada/x"})
    assert runner.claim()["secrets"] == {"P12_PASSWORD": "battery staple"}
    # Sealed in the store, and what was replaced is gone from it.
    eventually(lambda: first not in kept())
    [sealed] = kept()
    assert b"staple" not in stack.read_object(sealed)

    for name, value in (
        ("lower", "correct"), ("A" * 65, "correct"), ("PATH", "correct"), ("LD_PRELOAD", "correct"), ("OK", "abc"),
        ("OK", "a\0bcd"), ("OK", "x" * 32_769), ("OK", 7),
    ):  # fmt: skip
        assert refusal(developer.request("PUT", f"{place}/{name}", json={"value": value}))[0] == 400, (name, value)
    stranger = sign_in(developer.http)
    assert refusal(stranger.get(place))[0] == 404
    assert refusal(stranger.request("PUT", f"{place}/X", json={"value": "correct"}))[0] == 404
    assert refusal(stranger.request("DELETE", f"{place}/P12_PASSWORD"))[0] == 404
    assert developer.request("DELETE", f"{place}/P12_PASSWORD").status_code == 204
    assert refusal(developer.request("DELETE", f"{place}/P12_PASSWORD"))[0] == 404
    assert developer.get(place).json() == {"secrets": []}
    eventually(lambda: not kept())


def test_a_step_with_a_zero_character_is_refused_and_the_build_goes_on(workshop: tuple[Visitor, Played, str]) -> None:
    who, runner, project_id = workshop
    asked(who, project_id)
    runner.claim()
    assert refusal(runner.tell("steps", current_step="compiling\0"))[0] == 400
    assert runner.tell("steps", current_step="compiling").status_code == 200


def test_a_version_is_built_again_from_the_commit_that_it_was_built_from(
    workshop: tuple[Visitor, Played, str],
) -> None:
    who, runner, project_id = workshop
    first = asked(who, project_id)
    job = runner.claim()
    assert job["seconds_max"] == 7200.0
    runner.tell("steps", current_step="fetching")
    assert runner.tell("source", commit_sha="7" * 40, tags=["v3.0.0"]).json() == {"version_number": "3.0.0"}
    again = asked(who, project_id, project_version_id=first["id"])
    assert (again["commit_sha"], again["build_number"]) == ("7" * 40, 2)
    who.post(f"{BUILDS}/{first['id']}/cancel")
    assert runner.claim()["source"]["commit_sha"] == "7" * 40
    other = project_of(who)
    stranger = sign_in(who.http)
    for asker, project in ((who, other), (stranger, project_of(stranger))):
        body = {"project_id": project, "project_version_id": first["id"]}
        assert refusal(asker.post(BUILDS, body)) == (404, "not_found")


# --- runners ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def workshop(client: httpx.Client, source: Path) -> tuple[Visitor, Played, str]:
    """Somebody with a runner and a project of their own."""
    who = sign_in(client)
    return who, runner_of(who), project_of(who, source)


Workshop = tuple[Visitor, Played, str]


def test_a_runner_takes_a_build_to_its_end(workshop: Workshop) -> None:
    who, runner, project_id = workshop
    build = asked(who, project_id, release_type="minor", flags={"enableDebugMode": True})
    job = runner.claim()
    assert (job["build_id"], job["fence"], job["platform"]) == (build["id"], 1, "linux")
    assert job["flags"] == {"enableDebugMode": True}
    assert status(who, build["id"]) == "queued"

    assert runner.tell("steps", current_step="building", step_progress=45).status_code == 200
    running = who.get(f"{BUILDS}/{build['id']}").json()
    assert running["status"] == "running"
    assert running["metadata"] == {"current_step": "building", "step_progress": 45}
    assert MOMENT.fullmatch(running["started_at"])
    found = runner.tell("source", commit_sha="a" * 40, tags=["v3.0.0"], version_file="2.0.0")
    assert found.json() == {"version_number": "3.0.0"}
    delivered = runner.deliver("Tiny.clap", b"plug-in" * 1000)
    assert delivered.status_code == 201, delivered.text
    # Said again by whoever has heard no answer.
    for _ in range(2):
        assert runner.tell("finish", status="success").json() == {"status": "success"}
    assert refusal(runner.tell("finish", status="failed"))[0] == 409

    done = who.get(f"{BUILDS}/{build['id']}").json()
    assert (done["status"], done["version_number"], done["commit_sha"]) == ("success", "3.0.0", "a" * 40)
    assert MOMENT.fullmatch(done["completed_at"])
    [artifact] = who.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
    assert MOMENT.fullmatch(artifact.pop("created_at"))
    assert str(UUID(artifact["id"])) == artifact["id"]
    assert artifact == {
        "id": artifact["id"],
        "platform": "linux",
        "format": "clap",
        "file_name": "Tiny.clap",
        "file_size": 7000,
        "checksum_sha256": hashlib.sha256(b"plug-in" * 1000).hexdigest(),
        "is_signed": False,
        "download_count": 0,
        "content_type": "application/octet-stream",
        "validation": "skipped",
        "validation_detail": "",
    }
    place = f"{BUILDS}/{build['id']}/download/{artifact['id']}"
    link = who.get(place)
    assert link.status_code == 200
    assert set(link.json()) == {"url", "expires_at"}
    assert who.http.get(link.json()["url"]).content == b"plug-in" * 1000
    lead = who.get(place, params={"redirect": "true"}, follow_redirects=False)
    assert lead.status_code == 302
    assert who.http.get(lead.headers["location"]).content == b"plug-in" * 1000
    bare = who.get(place, headers={"Accept": "application/octet-stream"}, follow_redirects=False)
    assert bare.status_code == 302
    [counted] = who.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
    assert counted["download_count"] == 3
    assert asked(who, project_id)["version_number"] == "3.0.1"


def test_a_runner_is_asked_for_the_formats_that_its_platform_has(client: httpx.Client, source: Path) -> None:
    who = sign_in(client)
    mac, windows = runner_of(who, "vst3", "au", platform="macos"), runner_of(who, "vst3", platform="windows")
    asked(who, project_of(who, source), platforms=["macos", "windows"], formats=["vst3", "au"])

    assert [mac.claim()["formats"], windows.claim()["formats"]] == [["vst3", "au"], ["vst3"]]


def test_runners_that_claim_at_once_get_one_job_between_them(workshop: Workshop, strict: httpx.Client) -> None:
    who, first, project_id = workshop
    racers = [first, *(runner_of(who) for _ in range(5))]
    asked(who, project_id)
    eventually(lambda: who.get(BUILDS).json()["builds"][0]["status"] == "queued")
    for racer in racers:
        racer.http = strict
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda racer: racer.ask("/claim"), racers))
    assert sorted(each.status_code for each in answers) == [200, 204, 204, 204, 204, 204]
    assert not any(each.content for each in answers if each.status_code == 204)


def test_a_dead_runners_job_is_claimed_again_and_the_resurrected_one_is_refused(
    workshop: Workshop, strict: httpx.Client
) -> None:
    who, dead, project_id = workshop
    build = asked(who, project_id)
    eventually(lambda: status(who, build["id"]) == "queued")
    dead.http = strict
    dead.claim()
    dead.tell("steps", current_step="building")
    alive = runner_of(who)
    assert dead.job["lease_seconds"] == 1.5, "so long a runner goes on that nobody answers"
    job = alive.claim()
    assert (job["build_id"], job["fence"]) == (build["id"], 2)
    dead.http = who.http
    for what, body in (
        ("heartbeat", {}),
        ("steps", {"current_step": "x"}),
        ("source", {"commit_sha": "a" * 40}),
        ("finish", {"status": "success"}),
    ):
        assert refusal(dead.tell(what, **body))[0] == 409, what
    assert refusal(dead.print(0, b"late"))[0] == 409
    # Nor does the new fence help whoever does not hold it.
    dead.job = {**dead.job, "fence": 2}
    assert refusal(dead.tell("finish", status="failed"))[0] == 409
    assert alive.tell("steps", current_step="building").status_code == 200
    assert status(who, build["id"]) == "running"


def test_builds_that_are_asked_for_at_once_never_share_a_number(workshop: Workshop) -> None:
    who, _, project_id = workshop
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: asked(who, project_id), range(8)))
    assert sorted(each["build_number"] for each in made) == list(range(1, 9))
    assert {each["version_number"] for each in made} == {f"0.0.{number}" for number in range(1, 9)}


def test_artifacts_go_straight_to_a_store_that_is_reached_from_outside(workshop: Workshop, stack: Stack) -> None:
    who, runner, project_id = workshop
    build = asked(who, project_id)
    runner.claim()
    runner.tell("steps", current_step="uploading")
    with stack.door(s3_public_url=stack.settings[S3].s3_url) as url, httpx.Client(base_url=url) as there:
        runner.http = there
        data = b"x" * 1000
        about = {
            "format": "clap",
            "file_name": "Tiny.clap",
            "file_size": len(data),
            "checksum_sha256": hashlib.sha256(data).hexdigest(),
        }
        place = runner.tell("artifacts", **about).json()
        assert place["upload_url"].startswith(stack.settings[S3].s3_url)
        assert httpx.put(place["upload_url"], content=data + b"x", headers=place["headers"]).status_code == 403
        assert httpx.put(place["upload_url"], content=data, headers=place["headers"]).status_code == 200
        complete = f"artifacts/{place['artifact_id']}/complete"
        assert runner.tell(complete, **about).status_code == 201
        [artifact] = who.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
        assert artifact["checksum_sha256"] == about["checksum_sha256"]
        # Whoever has the link for an hour changes nothing of what has been looked at.
        assert httpx.put(place["upload_url"], content=b"y" * 1000, headers=place["headers"]).status_code == 200
        link = there.get(f"{BUILDS}/{build['id']}/download/{artifact['id']}", headers=who.headers).json()["url"]
        assert link.startswith(stack.settings[S3].s3_url)
        assert httpx.get(link).content == data


def test_a_cancelled_build_is_told_to_its_runner_and_takes_nothing_more(workshop: Workshop) -> None:
    who, runner, project_id = workshop
    build = asked(who, project_id)
    runner.claim()
    runner.tell("steps", current_step="building")
    assert runner.tell("heartbeat").json()["cancel"] is False
    who.post(f"{BUILDS}/{build['id']}/cancel")
    assert runner.tell("heartbeat").json() == {"cancel": True, "lease_until": None}
    assert refusal(runner.tell("finish", status="success"))[0] == 409
    assert refusal(runner.print(0, b"late"))[0] == 409
    assert status(who, build["id"]) == "cancelled"


def test_the_log_takes_each_byte_once_and_is_read_in_parts_and_as_it_is_written(workshop: Workshop) -> None:
    who, runner, project_id = workshop
    build = asked(who, project_id)
    runner.claim()
    runner.tell("steps", current_step="building")
    assert runner.print(0, b"hello ").json() == {"size": 6}
    assert runner.print(0, b"hello ").json() == {"size": 6}
    assert runner.print(3, b"lo world\n").json() == {"size": 12}
    gap = runner.print(50, b"x")
    assert refusal(gap)[0] == 409
    assert gap.json()["details"]["size"] == 12
    assert refusal(runner.print(12, b"x" * (512 * 1024 + 1)))[0] == 413
    odd = b"\xff\xfe\x1b[31mred\x1b[0m\rover\n" + b"y" * 300_000
    assert runner.print(12, odd).json() == {"size": 12 + len(odd)}
    place = f"{BUILDS}/{build['id']}/logs"
    whole = who.get(place)
    assert whole.content == b"hello world\n" + odd
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert who.get(place, params={"offset": 6}).content == b"world\n" + odd
    part = who.get(place, headers={"Range": "bytes=12-"})
    assert (part.status_code, part.content) == (206, odd)
    assert part.headers["content-range"] == f"bytes 12-{11 + len(odd)}/{12 + len(odd)}"
    for asked_for, expected in (("0-4", b"hello"), ("3-13", b"lo world\n\xff\xfe"), ("-3", b"yyy"), ("6-6", b"w")):
        part = who.get(place, headers={"Range": f"bytes={asked_for}"})
        assert (part.status_code, part.content) == (206, expected), asked_for
    assert part.headers["content-range"] == f"bytes 6-6/{12 + len(odd)}"
    assert who.get(place, headers={"Range": "bytes=0-1,4-5"}).content == whole.content
    for nothing in ("999999-", "999999-9999999", "-0"):
        none = who.get(place, headers={"Range": f"bytes={nothing}"})
        assert refusal(none)[0] == 416, nothing
        assert none.headers["content-range"] == f"bytes */{12 + len(odd)}"

    for _ in range(2):
        told = runner.tell("finish", status="failed", error_code="step_failed", error_message="x.cpp:1: error: no")
        assert (told.status_code, told.json()) == (200, {"status": "failed"})
    assert refusal(runner.print(12 + len(odd), b"late"))[0] == 409
    with who.http.stream("GET", place, headers={**who.headers, "Accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = "".join(stream.iter_text())
    assert events.startswith('id: 6\nevent: log\ndata: {"offset":0,"text":"hello "}\n\n')
    assert events.endswith(f'event: end\ndata: {{"status":"failed","offset":{12 + len(odd)}}}\n\n')
    failed = who.get(f"{BUILDS}/{build['id']}").json()
    assert (failed["status"], failed["error_message"]) == ("failed", "x.cpp:1: error: no")


def test_an_upload_that_breaks_off_or_is_something_else_is_no_artifact(workshop: Workshop, stack: Stack) -> None:
    who, runner, project_id = workshop
    build = asked(who, project_id)
    runner.claim()
    runner.tell("steps", current_step="uploading")
    data = b"x" * 1000
    about = {
        "format": "clap",
        "file_name": "Tiny.clap",
        "file_size": 1000,
        "checksum_sha256": hashlib.sha256(data).hexdigest(),
    }
    place = runner.tell("artifacts", **about).json()
    complete = f"artifacts/{place['artifact_id']}/complete"
    assert refusal(runner.tell(complete, **about)) == (409, "conflict")
    for other in (data[:500], data + b"x"):
        assert who.http.put(place["upload_url"], content=other).status_code == 400
        assert refusal(runner.tell(complete, **about))[0] == 409
    assert who.http.put(place["upload_url"], content=b"y" * 1000).status_code == 200
    assert refusal(runner.tell(complete, **about)) == (400, "bad_request")
    assert who.http.put(place["upload_url"].replace("size=1000", "size=9999"), content=data).status_code == 403
    for lie in ({"file_size": 999}, {"file_size": 1001}, {"file_name": "Other.clap"}):
        assert who.http.put(place["upload_url"], content=data).status_code == 200
        assert refusal(runner.tell(complete, **{**about, **lie})) == (400, "bad_request"), lie
    assert refusal(runner.tell("artifacts", **{**about, "file_size": (2 << 30) + 1}))[0] == 413
    assert who.http.put(place["upload_url"], content=data).status_code == 200
    assert runner.tell(complete, **about).status_code == 201
    assert runner.tell(complete, **about).json() == {"size": 1000}
    [artifact] = who.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
    # The link is good for an hour, and nothing that comes by it, or is said of it, changes what has been looked at.
    assert who.http.put(place["upload_url"], content=b"z" * 1000).status_code == 200
    assert refusal(runner.tell(complete, **{**about, "file_size": 999})) == (400, "bad_request")
    assert runner.tell(complete, **about).json() == {"size": 1000}
    link = who.get(f"{BUILDS}/{build['id']}/download/{artifact['id']}").json()["url"]
    assert who.http.get(link).content == data
    kept = {each for each in stack.objects("builds/") if build["id"] in each}
    assert len(kept) == 2
    runner.tell("finish", status="success")
    eventually(lambda: {each for each in stack.objects("builds/") if build["id"] in each} < kept)
    assert who.http.get(link).content == data
    for name in ("../x", "a/b", "a\\b", "", ".", "x\0y", "-" * 201, "CON:"):
        assert runner.tell("artifacts", **{**about, "file_name": name}).status_code == 400, name


def test_an_artifact_that_arrives_when_its_build_is_over_is_not_kept(workshop: Workshop, stack: Stack) -> None:
    who, runner, project_id = workshop
    build = asked(who, project_id)
    runner.claim()
    runner.tell("steps", current_step="uploading")
    data = b"x" * 1000
    about = {"file_size": 1000, "checksum_sha256": hashlib.sha256(data).hexdigest()}
    place = urlsplit(runner.tell("artifacts", format="clap", file_name="Tiny.clap", **about).json()["upload_url"])
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=20) as slow:
        head = f"PUT {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 1000\r\n"
        slow.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert b" 100 " in slow.recv(1024)
        slow.sendall(data[:500])
        who.post(f"{BUILDS}/{build['id']}/cancel")
        slow.sendall(data[500:])
        assert b" 409 " in slow.recv(4096).partition(b"\r\n")[0]
    assert not stack.objects(f"builds/{who.workspace_id}/")


def test_artifacts_take_a_place_among_the_uploads_of_their_workspace(workshop: Workshop, stack: Stack) -> None:
    who, runner, project_id = workshop
    asked(who, project_id)
    runner.claim()
    runner.tell("steps", current_step="uploading")
    data = b"x" * 1000
    digest = hashlib.sha256(data).hexdigest()
    about = {"format": "clap", "file_name": "Tiny.clap", "file_size": len(data), "checksum_sha256": digest}
    # A quarter of four places is one.
    with stack.door(uploads_at_once_max=4) as url:
        links = [
            runner.tell("artifacts", **{**about, "file_name": name}).json()["upload_url"].replace(stack.url, url)
            for name in ("Tiny.clap", "Other.clap")
        ]
        place = urlsplit(links[0])
        with socket.create_connection((place.hostname or "", place.port or 80), timeout=20) as slow:
            head = f"PUT {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(data)}\r\n"
            slow.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert b" 100 " in slow.recv(1024)
            crowded = httpx.put(links[1], content=data, timeout=20)
            assert (crowded.status_code, crowded.headers["retry-after"]) == (503, "5")
            slow.sendall(data)
            assert b" 200 " in slow.recv(4096)
        assert httpx.put(links[1], content=data, timeout=20).status_code == 200


def test_nobody_but_runners_and_only_of_the_right_workspace_claims(workshop: Workshop, strict: httpx.Client) -> None:
    who, runner, project_id = workshop
    stranger = runner_of(sign_in(who.http))
    asked(who, project_id)
    eventually(lambda: who.get(BUILDS).json()["builds"][0]["status"] == "queued")
    stranger.http = strict
    assert stranger.ask("/claim").status_code == 204
    runner.claim()
    stranger.http, stranger.job = who.http, runner.job
    assert refusal(stranger.tell("steps", current_step="x"))[0] == 409
    assert refusal(stranger.tell("heartbeat"))[0] == 409
    for token in (
        "",
        "lrn_x.y",
        who.headers.get("Authorization", "")[7:],
        runner.token[:-1] + ("1" if runner.token.endswith("0") else "0"),
    ):
        wrong = Played(who.http, token or "x", runner.job)
        assert refusal(wrong.ask("/claim")) == (401, "unauthorized")
        assert refusal(wrong.tell("heartbeat")) == (401, "unauthorized")
    register = {"name": "x", "platforms": ["linux"], "formats": ["clap"]}
    for token in ("", "lrr_public.99999999999.x", "lrr_public.x.x", runner.token):
        assert who.http.post(f"{RUNNER}/register", json={"token": token, **register}).status_code == 403
    [listed] = who.get("/functions/v1/runners").json()["runners"]
    assert (listed["name"], listed["platforms"]) == ("bench", ["linux"])
    assert who.request("DELETE", f"/functions/v1/runners/{listed['id']}").status_code == 204
    assert refusal(runner.ask("/claim")) == (401, "unauthorized")


def removed(who: Visitor) -> None:
    """All runners of a workspace are its runners no more."""
    for each in who.get("/functions/v1/runners").json()["runners"]:
        assert who.request("DELETE", f"/functions/v1/runners/{each['id']}").status_code == 204


def test_a_runner_that_is_removed_while_it_waits_is_given_no_build(workshop: Workshop) -> None:
    who, runner, project_id = workshop
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(runner.ask, "/claim")
        assert not wait([waiting], timeout=0.5).done, "it waits, because there is no build"
        removed(who)
        build = asked(who, project_id)
        assert refusal(waiting.result()) == (401, "unauthorized")
    # Whoever comes after it has the build at once.
    runner.token = runner_of(who).token
    assert runner.claim()["build_id"] == build["id"]


@pytest.mark.parametrize("what", ["a log", "an artifact"])
def test_a_runner_that_is_removed_while_its_bytes_are_on_their_way_leaves_none(
    workshop: Workshop, stack: Stack, what: str
) -> None:
    who, runner, project_id = workshop
    asked(who, project_id)
    job, data = runner.claim(), b"x" * 1000
    path, method = f"{RUNNER}/jobs/{job['job_id']}/logs?offset=0&fence={job['fence']}", "POST"
    if what == "an artifact":
        digest = hashlib.sha256(data).hexdigest()
        about = {"format": "clap", "file_name": "Tiny.clap", "file_size": len(data), "checksum_sha256": digest}
        link = urlsplit(runner.tell("artifacts", **about).json()["upload_url"])
        path, method = f"{link.path}?{link.query}", "PUT"
    with held(who.http, path, runner.token, data, "application/octet-stream", method) as late:
        removed(who)
        # A link that is no good any more is refused like any other.
        assert late.answer() == (403 if what == "an artifact" else 401)
    assert not stack.objects(f"builds/{who.workspace_id}/")


def test_a_runner_that_asks_anew_is_no_longer_answered_where_it_asked_before(workshop: Workshop) -> None:
    who, runner, project_id = workshop
    with ThreadPoolExecutor(2) as pool:
        older = pool.submit(runner.ask, "/claim")
        assert not wait([older], timeout=0.5).done, "it waits, because there is no build"
        newer = pool.submit(runner.ask, "/claim")
        assert older.result(10).status_code == 204
        build = asked(who, project_id)
        assert newer.result().json()["build_id"] == build["id"]


def taken(who: Visitor) -> str:
    """A token with which machines become runners."""
    token: str = who.post("/functions/v1/runners/registration-token").json()["token"]
    return token


def _key_revoked(http: httpx.Client) -> str:
    who = sign_in(http)
    key = who.key("builds:write")
    headers = {"X-API-Key": key["plaintext_key"]}
    token: str = http.post("/functions/v1/runners/registration-token", headers=headers).json()["token"]
    assert who.delete(f"/v1/api-keys/{key['id']}").status_code == 200
    return token


def _admin_removed(http: httpx.Client) -> str:
    who = sign_in(http)
    admin = join(who, "admin")
    token = taken(admin)
    assert who.delete(f"/v1/account/team/members/{admin.user_id}").status_code == 200
    return token


def _admin_lowered(http: httpx.Client) -> str:
    who = sign_in(http)
    admin = join(who, "admin")
    token = taken(admin)
    assert who.patch(f"/v1/account/team/members/{admin.user_id}", {"role": "viewer"}).status_code == 200
    return token


def _signed_out(http: httpx.Client) -> str:
    who = sign_in(http)
    token = taken(who)
    assert who.post("/v1/auth/logout").status_code == 200
    return token


def _forgotten(http: httpx.Client) -> str:
    who = sign_in(http)
    token = taken(who)
    assert who.delete(f"/v1/account/workspaces/{who.workspace_id}").status_code == 200
    return token


def _reclaimed(http: httpx.Client) -> str:
    email = new_email()
    key = http.post("/v1/auth/register", json={"email": email}).json()["api_key"]
    made = http.post("/functions/v1/runners/registration-token", headers={"X-API-Key": key})
    sign_in(http, email)
    return str(made.json().get("token", "lrr_"))


@pytest.mark.parametrize(
    "loss",
    [_key_revoked, _admin_removed, _admin_lowered, _signed_out, _forgotten, _reclaimed],
    ids=lambda loss: loss.__name__,
)
def test_a_token_to_register_with_ends_with_the_right_of_whoever_took_it(
    client: httpx.Client, loss: Callable[[httpx.Client], str]
) -> None:
    about = {"token": loss(client), "name": "late", "platforms": ["linux"], "formats": ["clap"]}
    assert refusal(client.post(f"{RUNNER}/register", json=about)) == (403, "no_registration")


def test_a_key_takes_a_token_that_registers_a_runner(client: httpx.Client) -> None:
    headers = {"X-API-Key": sign_in(client).key("builds:write")["plaintext_key"]}
    token = client.post("/functions/v1/runners/registration-token", headers=headers).json()["token"]
    about = {"token": token, "name": "bench", "platforms": ["linux"], "formats": ["clap"]}
    assert client.post(f"{RUNNER}/register", json=about).status_code == 201
