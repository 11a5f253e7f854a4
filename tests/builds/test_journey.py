"""The whole way with a real runner: a git repository, the API, a build, a webhook that verifies, and a download."""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.builds.test_over_http import BUILDS, asked, project_of, status
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import ROOT, Neighbour, Received, Stack, eventually
from tests.runner.projects import clap_with_make, commit, git, lv2_with_make, repository
from tests.runner.test_building import commands, missing

pytestmark = pytest.mark.skipif(bool(missing), reason=f"this machine lacks {', '.join(missing)}")


class Runner:
    """A runner as a process."""

    def __init__(self, url: str, token: str, room: Path) -> None:
        self.room = room
        self.log = room.with_suffix(".log")
        command = [
            sys.executable,
            "-m",
            "infra.cli",
            "runner",
            "--url",
            url,
            "--work-dir",
            str(room),
            "--name",
            "bench",
        ]
        command += ["--local-root", "/tmp", "--jobs", "2"]
        # Without a group of its own it would be stopped with whoever presses Ctrl-C here.
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "LEDGERLINE_RUNNER_TOKEN": token}, stdout=log, stderr=log
            )
        eventually(lambda: "runner: ready" in self.log.read_text(), timeout=60)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def runner(stack: Stack, developer: Visitor) -> Iterator[Runner]:
    token = developer.post("/functions/v1/runners/registration-token").json()["token"]
    room = Path("/var/tmp", f"ledgerline-journey-{os.getpid()}")
    room.mkdir(mode=0o711)
    made = Runner(stack.url, token, room)
    yield made
    made.stop()
    print(made.log.read_text())
    shutil.rmtree(room)
    made.log.unlink()


def over(who: Visitor, build_id: str, timeout: float = 90) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        build: dict[str, Any] = who.get(f"{BUILDS}/{build_id}").json()
        return build if build["completed_at"] else None

    found = eventually(look, timeout)
    assert found is not None
    return found


def signed_by(post: Received, secret: str) -> tuple[bool, bool]:
    """Whether a message verifies with a secret: after BeatConnect's document, and after Standard Webhooks."""
    expected = "sha256=" + hmac.new(secret.encode(), post.body, hashlib.sha256).hexdigest()
    try:
        Webhook(secret).verify(post.body, dict(post.headers))
    except WebhookVerificationError:
        return post.headers["x-beatconnect-signature"] == expected, False
    return post.headers["x-beatconnect-signature"] == expected, True


def test_from_a_repository_to_a_download_and_a_webhook_with_both_signatures(
    developer: Visitor, runner: Runner, receiver: Neighbour, tmp_path: Path
) -> None:
    place = repository(tmp_path / "tiny", {**lv2_with_make(), "VERSION": "1.4.0\n"})
    hook = uuid4().hex
    made = developer.post("/functions/v1/projects", {"name": "Tiny", "webhook_url": receiver.at(hook)}).json()
    body = {"project_id": made["id"], "repo_full_name": str(place)}
    assert developer.post("/functions/v1/plugin-repos/link", body).status_code == 200

    build = over(developer, asked(developer, made["id"], formats=["lv2"])["id"])

    log = developer.get(f"{BUILDS}/{build['id']}/logs").text
    assert build["status"] == "success", log
    assert build["version_number"] == "1.4.0"
    assert build["commit_sha"] == git(place, "rev-parse", "HEAD")
    assert build["isolation"]["linux"] in ("strong", "medium")
    assert "tiny.lv2" in log
    [artifact] = developer.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
    assert (artifact["file_name"], artifact["validation"]) == ("tiny.lv2", "passed")
    link = developer.get(f"{BUILDS}/{build['id']}/download/{artifact['id']}").json()["url"]
    data = developer.http.get(link).content
    assert hashlib.sha256(data).hexdigest() == artifact["checksum_sha256"]
    assert len(data) == artifact["file_size"]

    posts = eventually(lambda: len(found := receiver.received(hook)) == 3 and found, timeout=30)
    assert posts
    types = ["build.queued", "build.started", "build.success"]
    assert sorted(each.json["type"] for each in posts) == types
    for post in posts:
        assert signed_by(post, made["webhook_secret"]) == (True, True)
        assert post.headers["x-beatconnect-event"] == post.json["type"]
        assert set(post.json) == {"event", "type", "build_id", "status", "project_id", "version", "timestamp"}
        assert (post.json["event"], post.json["build_id"], post.json["project_id"]) == (
            "build.status", build["id"], made["id"],
        )  # fmt: skip
    told = next(each.json for each in posts if each.json["type"] == "build.success")
    assert (told["status"], told["version"], told["timestamp"]) == ("success", "1.4.0", build["completed_at"])


def test_a_broken_source_fails_with_the_compilers_words_and_the_next_one_is_built(
    developer: Visitor, runner: Runner, tmp_path: Path
) -> None:
    place = repository(tmp_path / "tiny", {**lv2_with_make(), "lv2.cpp": "int x = nonsense;\n"})
    project_id = project_of(developer, place)
    failed = over(developer, asked(developer, project_id, formats=["lv2"])["id"])
    assert failed["status"] == "failed"
    assert failed["error_code"] == "step_failed"
    assert "lv2.cpp:1:9: error" in failed["error_message"]
    commit(place, lv2_with_make())
    assert over(developer, asked(developer, project_id, formats=["lv2"])["id"])["status"] == "success"


def test_a_build_that_is_cancelled_ends_within_seconds_and_a_secret_changed_meanwhile_signs_that(
    developer: Visitor, runner: Runner, receiver: Neighbour, tmp_path: Path
) -> None:
    place = repository(tmp_path / "it", commands("trap '' TERM; echo it-runs; sleep 600"))
    project_id, hook = project_of(developer, place), uuid4().hex

    def secret_set_anew() -> str:
        answer = developer.patch(f"/functions/v1/projects/{project_id}", {"webhook_url": receiver.at(hook)})
        return str(answer.json()["webhook_secret"])

    old = secret_set_anew()
    build_id = asked(developer, project_id, formats=["lv2"])["id"]
    eventually(lambda: "it-runs\n" in developer.get(f"{BUILDS}/{build_id}/logs").text, timeout=60)
    running = developer.get(f"{BUILDS}/{build_id}").json()
    assert running["metadata"]["current_step"] == "building"
    before = eventually(lambda: len(found := receiver.received(hook)) == 2 and found, timeout=30)
    assert before
    new = secret_set_anew()
    begun = time.monotonic()
    assert developer.post(f"{BUILDS}/{build_id}/cancel").status_code == 200
    eventually(lambda: not (runner.room / "slot-0" / "build").exists(), timeout=30)
    assert time.monotonic() - begun < 10
    assert status(developer, build_id) == "cancelled"
    told = eventually(lambda: len(found := receiver.received(hook)) == 3 and found, timeout=30)
    assert told
    assert [signed_by(post, old) for post in before] == [(True, True), (True, True)]
    [last] = [post for post in told if post.json["type"] == "build.cancelled"]
    # BeatConnect's header has room for one signature; the other one holds the old secret's for a day.
    assert (signed_by(last, new), signed_by(last, old)) == ((True, True), (False, True))


SIGN = 'sh ./osslsigncode sign -pkcs12 c.p12 "$SIGNING_PASSWORD" -in "$ARTIFACT"'
SIGNER = """#!/bin/sh
# As osslsigncode is called and as it fails; what it signs ends with who has.
if [ "$4" != "correct horse battery" ]; then
    echo "Failed to load PKCS#12 file: mac verify failure, wrong password $4?" >&2
    exit 1
fi
printf 'signed by Ada' >> "$6"
"""


def test_what_is_built_is_signed_with_the_secrets_of_the_project_which_nobody_else_sees(
    developer: Visitor, runner: Runner, tmp_path: Path
) -> None:
    files = clap_with_make() | {
        "osslsigncode": SIGNER,
        "ledgerline-build.toml": f"sign = ['{SIGN}']\n",
    }
    # Whoever builds it looks for what is secret.
    files["Makefile"] += "\tenv > /tmp/seen; cat /proc/self/environ >> /tmp/seen; cat /tmp/seen >> $@; cat /tmp/seen\n"
    place = repository(tmp_path / "signed", files)
    project_id = project_of(developer, place)
    secrets = f"/functions/v1/projects/{project_id}/secrets"

    def built() -> tuple[dict[str, Any], list[dict[str, Any]], str]:
        build = over(developer, asked(developer, project_id)["id"])
        found = developer.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
        return build, found, developer.get(f"{BUILDS}/{build['id']}/logs").text

    build, [artifact], log = built()
    assert (build["status"], artifact["is_signed"]) == ("success", False)
    assert "Not signed" in log

    assert developer.request("PUT", f"{secrets}/SIGNING_PASSWORD", json={"value": "wrong horse"}).status_code == 200
    build, found, log = built()
    assert (build["status"], build["error_code"], found) == ("failed", "signing_failed", [])
    assert "mac verify failure, wrong password ***?" in build["error_message"]
    assert "wrong horse" not in log + str(build)

    right = developer.request("PUT", f"{secrets}/SIGNING_PASSWORD", json={"value": "correct horse battery"})
    assert "correct horse" not in right.text
    build, [artifact], log = built()
    assert (build["status"], artifact["is_signed"]) == ("success", True)
    link = developer.get(f"{BUILDS}/{build['id']}/download/{artifact['id']}").json()["url"]
    data = developer.http.get(link).content
    assert data.endswith(b"signed by Ada")
    assert b"BUILD_NUMBER=" in data, "the build looked at its environment"
    assert b"horse" not in data
    assert b"SIGNING" not in data
    assert "horse" not in log
