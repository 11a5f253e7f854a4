"""The connection with GitHub against one that is played here, and builds asked for from elsewhere."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from domain.repositories.settings import Github
from tests.builds.little_actions import zipped
from tests.builds.little_github import LittleGithub, deliver, push, ran
from tests.builds.test_over_http import BUILDS, MOMENT, project_of, refusal, runner_of, status
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Neighbour, Stack, eventually
from tests.runner.test_parts import LIBRARY

CALLBACK = "/functions/v1/github-app-callback"
DISCOVER = "/functions/v1/plugin-repos/discover"


@pytest.fixture(scope="module")
def github() -> Iterator[LittleGithub]:
    """A GitHub of this machine."""
    little = LittleGithub()
    yield little
    little.close()


@pytest.fixture(scope="module")
def door(stack: Stack, github: LittleGithub) -> Iterator[httpx.Client]:
    """A process with an app at the GitHub that is played."""
    with stack.door(**github.settings()) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http


@pytest.fixture
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


def state_of(who: Visitor, door: httpx.Client) -> str:
    begun = door.post(f"{CALLBACK}/install", headers=who.headers)
    assert begun.status_code == 200, begun.text
    return str(parse_qs(urlsplit(begun.json()["install_url"]).query)["state"][0])


def installed(door: httpx.Client, **params: Any) -> str:
    """What GitHub leads back to, in whichever browser: proof that somebody has installed the app."""
    answer = door.get(CALLBACK, params={"installation_id": 7, "code": "code-of-ada", **params})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"connected", "account_login", "account_type", "confirmation"}
    assert (body["connected"], body["account_login"], body["account_type"]) == (False, "ada", "User")
    return str(body["confirmation"])


def confirmed(door: httpx.Client, who: Visitor, confirmation: str) -> httpx.Response:
    return door.post(f"{CALLBACK}/confirm", json={"confirmation": confirmation}, headers=who.headers)


def test_who_was_sent_the_link_of_another_gives_them_nothing(door: httpx.Client, developer: Visitor) -> None:
    """Their browser is led back; only whoever has begun it can connect it, with what that browser was shown."""
    confirmation = installed(door, state=state_of(developer, door))
    assert developer.get(f"{CALLBACK}/status").json()["connected"] is False
    stranger = sign_in(developer.http)
    assert refusal(confirmed(door, stranger, confirmation))[0] == 403
    text, _, proof = confirmation.partition(".")
    for made_up in (f"{text}.{proof[::-1]}", text, ".", "x", f"e30.{proof}", "\u0661", f"{text}=.{proof}"):
        assert refusal(confirmed(door, developer, made_up))[0] == 403, made_up
    assert developer.get(f"{CALLBACK}/status").json()["connected"] is False


def test_github_is_connected_looked_through_and_disconnected(door: httpx.Client, developer: Visitor) -> None:
    nothing = {"connected": False, "account_login": None, "account_type": None, "connected_at": None}
    assert developer.get(f"{CALLBACK}/status").json() == nothing
    assert refusal(developer.get(DISCOVER)) == (403, "github_not_connected")
    state = state_of(developer, door)

    wrong_ones: tuple[dict[str, Any], ...] = (
        {"installation_id": 8, "state": state, "code": "code-of-ada"},
        {"installation_id": 7, "state": state, "code": "code-of-eve"},
        {"installation_id": 7, "state": state, "code": "made-up"},
        {"installation_id": 7, "state": state, "code": "../x"},
        {"installation_id": 7, "state": state[:-1] + ("1" if state.endswith("0") else "0"), "code": "code-of-ada"},
        {"installation_id": 7, "state": "x", "code": "code-of-ada"},
    )
    for wrong in wrong_ones:
        assert refusal(door.get(CALLBACK, params=wrong))[0] == 403, wrong
    assert developer.get(f"{CALLBACK}/status").json() == nothing

    proof = installed(door, state=state, setup_action="install")
    connected = confirmed(door, developer, proof)
    assert connected.status_code == 200
    status = developer.get(f"{CALLBACK}/status").json()
    assert connected.json() == status
    assert MOMENT.fullmatch(status.pop("connected_at"))
    assert status == {"connected": True, "account_login": "ada", "account_type": "User"}
    found = door.get(DISCOVER, headers=developer.headers).json()
    assert found == {
        "repos": [
            {
                "name": "my-plugin",
                "full_name": "ada/my-plugin",
                "description": "My awesome plugin",
                "html_url": "https://github.com/ada/my-plugin",
                "topics": ["beatconnect-plugin"],
                "default_branch": "main",
            }
        ]
    }
    every = door.get(DISCOVER, params={"all": "true"}, headers=developer.headers).json()
    assert [each["name"] for each in every["repos"]] == ["my-plugin", "notes"]

    stranger = sign_in(developer.http)
    taken = installed(door, state=state_of(stranger, door))
    assert refusal(confirmed(door, stranger, taken)) == (409, "conflict")
    for _ in range(2):
        gone = developer.request("DELETE", f"{CALLBACK}/disconnect")
        assert (gone.status_code, gone.json()) == (200, {"success": True, "message": "GitHub disconnected"})
    assert developer.get(f"{CALLBACK}/status").json() == nothing
    assert confirmed(door, stranger, taken).status_code == 200
    # Taken out of the account at GitHub it is not connected here either.
    assert deliver(door, "installation", {"action": "suspend", "installation": {"id": 7}}).status_code == 202
    assert stranger.get(f"{CALLBACK}/status").json()["connected"] is True
    assert deliver(door, "installation", {"action": "deleted", "installation": {"id": 7}}).status_code == 202
    assert stranger.get(f"{CALLBACK}/status").json() == nothing


def test_other_systems_ask_for_builds_with_the_webhooks_secret(developer: Visitor) -> None:
    url = "http://127.0.0.1:9/hook"
    made = developer.post("/functions/v1/projects", {"name": "Told", "webhook_url": url}).json()
    place = f"/functions/v1/external-builds/{made['id']}/trigger"
    body = json.dumps({"ref": "refs/heads/main", "build_formats": ["clap"], "release_type": "minor"}).encode()
    secret = made["webhook_secret"]
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    http = developer.http

    for headers in ({"X-Webhook-Secret": secret}, {"X-Signature": signature}):
        answer = http.post(place, content=body, headers=headers)
        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] == "queued"
        build = developer.get(f"{BUILDS}/{answer.json()['build_id']}").json()
        assert (build["trigger"], build["ref"], build["formats"]) == ("external", "main", ["clap"])
        status = f"/functions/v1/external-builds/{build['id']}/status"
        told = http.get(status, headers={"X-Webhook-Secret": secret}).json()
        assert told == {"build_id": build["id"], "status": build["status"]}
        assert refusal(http.get(status))[0] == 401
    wrong: list[dict[str, str]] = [{}, {"X-Webhook-Secret": "x"}, {"X-Webhook-Secret": ""}, {"X-Signature": "sha256=0"}]
    for headers in wrong:
        assert refusal(http.post(place, content=body, headers=headers)) == (401, "unauthorized")
    nowhere = f"/functions/v1/external-builds/{uuid4()}/trigger"
    assert refusal(http.post(nowhere, content=body, headers={"X-Webhook-Secret": secret}))[0] == 401
    for bad in (b"[]", b"{", b'{"ref": "--x"}', b'{"platforms": ["amiga"]}', b"\xff"):
        assert refusal(http.post(place, content=bad, headers={"X-Webhook-Secret": secret})) == (400, "bad_request")


# --- what GitHub tells ------------------------------------------------------------------------------------------------


@pytest.fixture
def connected(door: httpx.Client) -> Iterator[Visitor]:
    """Somebody whose workspace is connected with installation 7, for as long as the test takes."""
    who = sign_in(door)
    assert confirmed(door, who, installed(door, state=state_of(who, door))).status_code == 200
    yield who
    assert who.request("DELETE", f"{CALLBACK}/disconnect").status_code == 200


def linked(who: Visitor, rules: dict[str, Any], name: str = "ada/My-Plugin", **more: Any) -> str:
    project_id = project_of(who, rules=rules, **more)
    answer = who.post("/functions/v1/plugin-repos/link", {"project_id": project_id, "repo_full_name": name})
    assert answer.status_code == 200, answer.text
    return project_id


def built(who: Visitor, answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 202, answer.text
    return [who.get(f"{BUILDS}/{build_id}").json() for build_id in answer.json()["builds"]]


def test_pushes_tags_and_releases_are_built_by_the_rules_of_the_projects(
    door: httpx.Client, connected: Visitor
) -> None:
    rules = {
        "push": {
            "branches": ["main", "release/*"],
            "paths": {"exclude": ["**.md"]},
            "build_config": {"platforms": ["linux"], "formats": ["clap"], "release_type": "dev"},
        },
        "tag": {"tags": ["v*"], "build_config": {"release_type": "release"}},
        "release": {"release_types": ["published"], "build_config": {"formats": ["lv2"]}},
    }
    project_id = linked(connected, rules, platforms=["linux"])
    linked(connected, {})
    linked(connected, rules, "ada/notes")

    [of_push] = built(connected, deliver(door, "push", push(after="1" * 40)))
    assert (of_push["project_id"], of_push["trigger"]) == (project_id, "push")
    assert (of_push["ref"], of_push["commit_sha"], of_push["formats"]) == ("main", "1" * 40, ["clap"])
    assert of_push["version_number"] == "0.0.1-dev.1"
    [of_tag] = built(connected, deliver(door, "push", push("refs/tags/v1.0.0", "2" * 40)))
    assert (of_tag["trigger"], of_tag["ref"], of_tag["release_type"]) == ("tag", "refs/tags/v1.0.0", "release")
    about = {key: push()[key] for key in ("repository", "installation")}
    release = {"action": "published", "release": {"tag_name": "v1.0.0"}, **about}
    [of_release] = built(connected, deliver(door, "release", release))
    assert (of_release["trigger"], of_release["formats"]) == ("release", ["lv2"])

    only_words = [{"id": "3" * 40, "added": ["docs/a.md"], "removed": [], "modified": ["README.md"]}]
    nothing: tuple[tuple[str, dict[str, Any]], ...] = (
        ("push", push("refs/heads/feature", "3" * 40)),
        ("push", push("refs/tags/nightly", "3" * 40)),
        ("push", push(after="3" * 40, commits=only_words)),
        ("push", push(after="0" * 40, deleted=True)),
        ("push", push(after="3" * 40, installation={"id": 99})),
        ("push", push(after="3" * 40, installation=None)),
        ("release", {**release, "action": "edited"}),
        ("ping", {"zen": "Approachable is better than simple."}),
        ("star", {}),
    )
    for event, payload in nothing:
        assert built(connected, deliver(door, event, payload)) == [], (event, payload)


def test_a_message_is_believed_with_its_signature_only_and_followed_once(
    door: httpx.Client, connected: Visitor
) -> None:
    project_id = linked(connected, {"push": {"branches": ["**"]}})
    message = push(after="4" * 40)
    wrong = [{"X_Hub_Signature_256": each} for each in ("", "sha256=", "sha256=" + "0" * 64, "sha1=" + "0" * 40)]
    for headers in wrong:
        assert refusal(deliver(door, "push", message, **headers)) == (403, "not_from_github")
    # The vector that GitHub documents.
    vector = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert refusal(deliver(door, "push", b"Hello, World!", X_Hub_Signature_256=vector)) == (400, "bad_request")
    bad: list[Any] = [b"[]", b"{", b"\xff", {}, push(ref=""), push(ref="a\0b"), push(after="x"), push(commits=7)]
    for body in bad:
        assert refusal(deliver(door, "push", body)) == (400, "bad_request"), body

    first = deliver(door, "push", message)
    again = [deliver(door, "push", message, X_GitHub_Delivery="72d3162e-cc78-11e3-81ab-4c9367dc0958") for _ in "ab"]
    assert {tuple(each.json()["builds"]) for each in (first, *again)} == {tuple(first.json()["builds"])}
    assert connected.get(BUILDS, params={"project_id": project_id}).json()["total"] == 1


def test_what_is_pushed_takes_the_place_of_what_was_pushed_there_before(door: httpx.Client, connected: Visitor) -> None:
    project_id = linked(connected, {"push": {"branches": ["**"]}})
    repository = push()["repository"]

    def pushed(ref: str, letter: str, moment: int) -> list[dict[str, Any]]:
        told = push(ref, letter * 40, repository={**repository, "pushed_at": moment})
        return built(connected, deliver(door, "push", told))

    def now(build: dict[str, Any]) -> str:
        return str(connected.get(f"{BUILDS}/{build['id']}").json()["status"])

    [other] = pushed("refs/heads/other", "a", 100)
    [first] = pushed("refs/heads/main", "b", 100)
    [by_hand] = [connected.post(BUILDS, {"project_id": project_id, "ref": "main"}).json()]
    used = connected.get(f"{BUILDS}/usage").json()["used"]
    [second] = pushed("refs/heads/main", "c", 101)
    assert now(first) == "cancelled"
    assert now(second) in ("pending", "queued"), "its source may have been found meanwhile"
    assert connected.get(f"{BUILDS}/usage").json()["used"] == used
    # One that comes late is not built in place of the newer one.
    assert pushed("refs/heads/main", "d", 99) == []
    assert {now(each) for each in (other, by_hand, second)} & {"cancelled", "failed"} == set()


def test_a_runner_is_given_a_token_that_reads_the_repository_and_nothing_else(
    door: httpx.Client, connected: Visitor, github: LittleGithub
) -> None:
    rules = {"push": {"build_config": {"platforms": ["linux"], "formats": ["clap"]}}}
    linked(connected, rules, "ada/my-plugin")
    [build] = built(connected, deliver(door, "push", push(after="5" * 40)))
    runner = runner_of(connected)
    source = runner.claim()["source"]
    assert source == {
        "url": f"{github.url}/ada/my-plugin",
        "ref": "main",
        "commit_sha": "5" * 40,
        "token": source["token"],
    }
    assert github.tokens[source["token"]] == ["my-plugin"]
    assert github.asked[-1][2]["permissions"] == {"contents": "read"}
    assert source["token"] not in connected.get(f"{BUILDS}/{build['id']}").text

    def of_submodule(url: str, **changed: Any) -> str:
        answer = runner.tell("submodule-token", url=url, **changed)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    token = of_submodule(f"{github.url}/Ada/notes.git")
    assert github.tokens[token] == ["notes"]
    assert github.asked[-1][2]["permissions"] == {"contents": "read"}
    for url in (
        f"{github.url}/eve/notes", f"{github.url}/ada/unseen", f"{github.url}/ada/..", f"{github.url}/ada/notes/x",
        "https://elsewhere.example/ada/notes", f"{github.url}.example/ada/notes", "ada/notes", "file:///etc",
    ):  # fmt: skip
        assert of_submodule(url) == "", url
    assert refusal(runner.tell("submodule-token", url=f"{github.url}/ada/notes", fence=99)) == (409, "conflict")

    stranger = sign_in(door)
    for who, name in ((connected, "ada/not-ours"), (stranger, "ada/my-plugin")):
        project_id = linked(who, {}, name, platforms=["linux"])
        assert who.post(BUILDS, {"project_id": project_id, "formats": ["clap"]}).status_code == 201
        assert runner_of(who).claim()["source"]["token"] == ""


def test_a_build_is_made_by_a_workflow_and_what_it_leaves_is_downloaded(
    stack: Stack, client: httpx.Client, door: httpx.Client, connected: Visitor, receiver: Neighbour
) -> None:
    settings = stack.settings[Github]
    port = urlsplit(settings.github_api_url).port
    assert port is not None
    with closing(LittleGithub(port=port, pem=settings.github_private_key.reveal())) as there:
        who = replace(connected, http=client)
        hook = uuid4().hex
        about = {"platforms": ["linux"], "github_workflow": "build.yml", "webhook_url": receiver.at(hook)}
        project_id = linked(who, {}, "ada/my-plugin", **about)
        build_id = who.post(BUILDS, {"project_id": project_id, "formats": ["clap"]}).json()["id"]
        run = eventually(lambda: there.actions.run_of(build_id))
        eventually(lambda: who.get(f"{BUILDS}/{build_id}").json()["github_run_url"] == run.url)
        run.runs("linux", ("Build", "in_progress"))
        steps = {"current_step": "linux: Build", "step_progress": 0}
        eventually(lambda: who.get(f"{BUILDS}/{build_id}").json()["metadata"] == steps)

        # What a webhook says is noted once, forwards, of runs of this workspace's own builds.
        told = deliver(door, "workflow_run", ran(run, "in_progress"))
        assert (told.status_code, told.json()["builds"]) == (202, [build_id])
        run.title = "Build"
        for action, installation, expected in (
            ("in_progress", {"id": 7}, []),
            ("requested", {"id": 7}, []),
            ("exploded", {"id": 7}, []),
            ("completed", {"id": 99}, []),
            ("completed", None, []),
            ("completed", {"id": 7}, [build_id]),
            ("completed", {"id": 7}, []),
        ):
            told = deliver(door, "workflow_run", ran(run, action, installation=installation))
            assert (told.status_code, told.json()["builds"]) == (202, expected), action
        assert refusal(deliver(door, "workflow_run", {"action": "completed"})) == (400, "bad_request")
        assert status(who, build_id) == "running", "GitHub does not say that it is over"

        run.succeeds(linux=zipped({"Tube.clap": LIBRARY}))
        eventually(lambda: status(who, build_id) == "success")
        [artifact] = who.get(f"{BUILDS}/{build_id}/artifacts").json()["artifacts"]
        assert (artifact["file_name"], artifact["platform"], artifact["is_signed"]) == ("Tube.clap", "linux", False)
        link = who.get(f"{BUILDS}/{build_id}/download/{artifact['id']}").json()["url"]
        assert who.http.get(link).content == LIBRARY
        posts = eventually(lambda: len(found := receiver.received(hook)) == 3 and found)
        assert posts
        assert sorted(each.json["type"] for each in posts) == ["build.queued", "build.started", "build.success"]

        failing = who.post(BUILDS, {"project_id": project_id, "formats": ["clap"]}).json()["id"]
        eventually(lambda: there.actions.run_of(failing)).fails("linux", "Build", "gain.cpp:1:1: error: no such thing")
        eventually(lambda: status(who, failing) == "failed")
        assert "gain.cpp:1:1: error" in who.get(f"{BUILDS}/{failing}").json()["error_message"]
        assert who.get(f"{BUILDS}/{failing}/logs").text == "gain.cpp:1:1: error: no such thing"
        assert not any(token in stack.log for token in there.tokens)


def test_without_a_secret_nothing_is_taken_from_github(developer: Visitor) -> None:
    assert refusal(deliver(developer.http, "push", push())) == (503, "unavailable")


def test_whoever_guesses_secrets_of_webhooks_or_asks_too_often_is_counted(developer: Visitor, stack: Stack) -> None:
    made = developer.post("/functions/v1/projects", {"name": "Told", "webhook_url": "http://127.0.0.1:9/hook"}).json()
    secret = {"X-Webhook-Secret": made["webhook_secret"]}
    trigger = f"/functions/v1/external-builds/{made['id']}/trigger"
    build = developer.http.post(trigger, headers=secret).json()["build_id"]
    asks = [("POST", trigger), ("GET", f"/functions/v1/external-builds/{build}/status")]
    with stack.door(refused_limit_per_minute=3) as url:
        for method, path in asks:
            tried = [httpx.request(method, f"{url}{path}", headers={"X-Webhook-Secret": "x"}) for _ in range(5)]
            assert {each.status_code for each in tried} <= {401, 429}
            assert tried[-1].status_code == 429
    with stack.door(studio_limit_per_minute=3) as url:
        for method, path in asks:
            asked = [httpx.request(method, f"{url}{path}", headers=secret) for _ in range(5)]
            assert asked[-1].status_code == 429
