"""Projects as rules, and over HTTP in the words of the studio's contract."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from commands.studio.projects import ChangeProject, CreateProject
from domain.studio.projects import (
    AuNeedsMacos,
    BuildRules,
    BuildRulesSet,
    NoSuchProject,
    OnPush,
    ProjectCreated,
    ProjectRenamed,
    ProjectTargeted,
    ProjectWebhookRemoved,
    ProjectWebhookSet,
    WorkflowChosen,
)
from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Stack
from tests.spec import NOW, given

PROJECTS = "/functions/v1/projects"

create = CreateProject(project_id="P", workspace_id="w1", name="Warm Tube")
created = ProjectCreated(project_id="P", workspace_id="w1", name="Warm Tube", created_at=NOW)


def change(**what: Any) -> ChangeProject:
    return ChangeProject(project_id="P", workspace_id="w1", **what)


# --- rules ------------------------------------------------------------------------------------------------------------


def test_a_project_is_created_once() -> None:
    given().when(create).then(created)
    given(created).when(create).then()


def test_a_webhook_comes_with_the_id_of_its_secret() -> None:
    wish = CreateProject(
        project_id="P", workspace_id="w1", name="Warm Tube", webhook_url="https://a.example", webhook_secret_id="S"
    )
    told = ProjectWebhookSet(project_id="P", workspace_id="w1", url="https://a.example", secret_id="S", set_at=NOW)
    given().when(wish).then(created, told)


def test_only_what_is_different_is_written_down() -> None:
    given(created).when(change(name="Warm Tube", description="", visibility="private", platforms=())).then()
    given(created).when(change(name="Cold Tube")).then(
        ProjectRenamed(project_id="P", workspace_id="w1", name="Cold Tube", description="", renamed_at=NOW)
    )
    rules = BuildRules(push=OnPush(branches=("release/*",)))
    given(created).when(change(formats=("clap",), rules=rules)).then(
        ProjectTargeted(project_id="P", platforms=(), formats=("clap",), targeted_at=NOW),
        BuildRulesSet(project_id="P", rules=rules, set_at=NOW),
    )


def test_the_same_address_given_anew_gets_a_new_secret_and_an_empty_one_takes_the_webhook_away() -> None:
    told = ProjectWebhookSet(project_id="P", workspace_id="w1", url="https://a.example", secret_id="S", set_at=NOW)
    again = change(webhook_url="https://a.example", webhook_secret_id="S2")
    given(created, told).when(again).then(
        ProjectWebhookSet(project_id="P", workspace_id="w1", url="https://a.example", secret_id="S2", set_at=NOW)
    )
    given(created, told).when(change(webhook_url="")).then(ProjectWebhookRemoved(project_id="P", removed_at=NOW))
    given(created).when(change(webhook_url="")).then()


def test_a_project_is_built_by_a_workflow_until_runners_build_it_again() -> None:
    chosen = WorkflowChosen(project_id="P", workflow="build.yml", chosen_at=NOW)
    given().when(CreateProject(project_id="P", workspace_id="w1", name="Warm Tube", workflow="build.yml")).then(
        created, chosen
    )
    given(created, chosen).when(change(workflow="build.yml")).then()
    given(created, chosen).when(change(workflow="")).then(WorkflowChosen(project_id="P", workflow="", chosen_at=NOW))


def test_audio_units_need_macos_also_after_a_change() -> None:
    given(created).when(change(platforms=("linux",), formats=("au", "vst3"))).refused(AuNeedsMacos)
    given(created).when(change(formats=("au",)), change(platforms=("windows",))).refused(AuNeedsMacos)


def test_another_workspace_s_project_is_not_there() -> None:
    theirs = ChangeProject(project_id="P", workspace_id="w2", name="Mine")
    given(created).when(theirs).refused(NoSuchProject)
    given().when(change(name="Mine")).refused(NoSuchProject)


# --- over HTTP --------------------------------------------------------------------------------------------------------

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(scope="module")
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def documented(stack: Stack) -> Iterator[httpx.Client]:
    """A process with the documented limit."""
    with stack.door(studio_limit_per_minute=100) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code, of a body as documented."""
    body = answer.json()
    assert set(body) == {"error", "message", "details"}
    assert isinstance(body["message"], str)
    assert isinstance(body["details"], dict)
    return answer.status_code, body["error"]


def test_a_project_is_created_read_changed_and_listed(developer: Visitor) -> None:
    rules = {"push": {"branches": ["main"], "paths": {"include": ["src/**"]}}}
    made = developer.post(
        PROJECTS,
        {"name": "Warm Tube", "platforms": ["linux", "linux"], "formats": ["vst3", "clap"], "rules": rules},
    )
    assert made.status_code == 201, made.text
    project = made.json()
    assert str(UUID(project["id"])) == project["id"]
    assert MOMENT.fullmatch(project["created_at"])
    assert project == {
        "id": project["id"],
        "name": "Warm Tube",
        "description": "",
        "visibility": "private",
        "platforms": ["linux"],
        "formats": ["vst3", "clap"],
        "rules": {
            "push": {
                "branches": ["main"],
                "paths": {"include": ["src/**"], "exclude": []},
                "build_config": {"platforms": [], "formats": [], "release_type": "dev"},
            },
            "tag": None,
            "release": None,
        },
        "github_workflow": None,
        "webhook_url": None,
        "created_at": project["created_at"],
        "updated_at": project["created_at"],
    }
    place = f"{PROJECTS}/{project['id']}"
    assert developer.get(place).json() == project
    changed = developer.patch(place, {"name": "Cold Tube"})
    assert changed.status_code == 200
    assert changed.json()["name"] == "Cold Tube"
    other = developer.post(PROJECTS, {"name": "Another"}).json()["id"]

    listed = developer.get(PROJECTS, params={"limit": 1}).json()
    assert {name: listed[name] for name in ("total", "limit", "offset")} == {"total": 2, "limit": 1, "offset": 0}
    assert [each["id"] for each in listed["projects"]] == [other]
    assert [each["id"] for each in developer.get(PROJECTS, params={"offset": 1}).json()["projects"]] == [project["id"]]


def test_the_secret_of_a_webhook_is_shown_when_it_is_set_and_never_again(developer: Visitor, stack: Stack) -> None:
    url = "http://127.0.0.1:9/hook?token=mine"
    made = developer.post(PROJECTS, {"name": "Told", "webhook_url": url}).json()
    assert made["webhook_secret"].startswith("whsec_")
    assert made["webhook_url"] == url
    place = f"{PROJECTS}/{made['id']}"
    assert "webhook_secret" not in developer.get(place).json()
    assert "webhook_secret" not in developer.patch(place, {"name": "Still told"}).json()
    again = developer.patch(place, {"webhook_url": url}).json()["webhook_secret"]
    assert again.startswith("whsec_")
    assert again != made["webhook_secret"]
    assert developer.patch(place, {"webhook_url": ""}).json()["webhook_url"] is None
    assert again not in stack.log


def test_the_same_request_with_the_same_key_makes_one_project(developer: Visitor) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    first = developer.post(PROJECTS, {"name": "Once"}, headers=headers)
    second = developer.post(PROJECTS, {"name": "Once"}, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert refusal(developer.post(PROJECTS, {"name": "Twice"}, headers=headers)) == (409, "conflict")


def test_refusals_are_as_documented(developer: Visitor, client: httpx.Client) -> None:
    project = developer.post(PROJECTS, {"name": "Ours"}).json()["id"]
    assert refusal(client.get(PROJECTS)) == (401, "unauthorized")
    assert refusal(join(developer, "viewer").post(PROJECTS, {"name": "Theirs"})) == (403, "forbidden")
    wrong = developer.key("usage:read")["plaintext_key"]
    assert refusal(client.get(PROJECTS, headers={"X-API-Key": wrong})) == (403, "forbidden")
    assert refusal(sign_in(client).get(f"{PROJECTS}/{project}")) == (404, "not_found")
    assert refusal(sign_in(client).patch(f"{PROJECTS}/{project}", {"name": "Mine"})) == (404, "not_found")
    assert refusal(developer.get(f"{PROJECTS}/{uuid4()}")) == (404, "not_found")
    assert refusal(developer.get("/functions/v1/nowhere")) == (404, "not_found")
    assert refusal(developer.get(PROJECTS, params={"limit": 101})) == (400, "bad_request")
    for body in ({}, {"name": ""}, {"name": 7}, {"name": "x", "formats": ["vst"]}, {"name": "x", "colour": "red"}):
        malformed = developer.post(PROJECTS, body)
        assert refusal(malformed) == (400, "bad_request"), body
        assert malformed.json()["details"]["errors"][0]["field"].startswith("body")
    assert refusal(developer.post(PROJECTS, {"name": "x", "formats": ["au"], "platforms": ["linux"]}))[0] == 400
    assert refusal(developer.post(PROJECTS, {"name": "x", "webhook_url": "http://10.0.0.1/"})) == (400, "bad_request")
    assert refusal(developer.post(PROJECTS, {"name": "a\0b"})) == (400, "bad_request")
    assert refusal(developer.request("DELETE", PROJECTS)) == (405, "method_not_allowed")


def test_the_general_limit_and_its_headers_are_as_documented(documented: httpx.Client, developer: Visitor) -> None:
    key = developer.key("builds:write")["plaintext_key"]
    for left in range(99, -1, -1):
        answer = documented.get(PROJECTS, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit"] == "100"
        assert answer.headers["x-ratelimit-remaining"] == str(left)
        assert -1 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61
    over = documented.get(PROJECTS, headers={"Authorization": f"Bearer {key}"})
    assert refusal(over) == (429, "rate_limited")
    assert over.headers["x-ratelimit-remaining"] == "0"
    assert 1 <= int(over.headers["retry-after"]) <= 60
