"""What a route of our own does not know it refuses, and names what it knows; documented routes take what they took."""

from __future__ import annotations

import re

import httpx
import pytest

from api.app import routes
from api.strictness import LENIENT
from tests.identity.crowd import sign_in


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/events?type=x", "type"), ("/v1/analyses?limit=5&befor=1", "befor"), ("/v1/auth/sessions?a", "a")],
)
def test_an_unknown_parameter_is_named_beside_those_that_are_known(client: httpx.Client, path: str, name: str) -> None:
    answer = sign_in(client).get(path)

    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["query", name]
    assert name in problem["msg"]
    assert ("limit" in problem["msg"]) is (path != "/v1/auth/sessions?a")


def test_known_parameters_pass(client: httpx.Client) -> None:
    me = sign_in(client)
    for path in ("/v1/events?after=0&limit=5&wait=0", "/v1/analyses?limit=5", "/v1/auth/sessions"):
        assert me.get(path).status_code == 200, path


def test_documented_routes_take_what_their_originals_took(client: httpx.Client) -> None:
    me = sign_in(client)
    for path in ("/v1/usage?utm_source=x", "/v1/account/profile?a=1", "/docs?checkout=success"):
        assert me.get(path).status_code == 200, path
    assert me.patch("/v1/account/profile", {"workspace_name": "Ours", "colour": "red"}).status_code == 200


def test_an_unknown_field_is_named_beside_those_that_are_known(client: httpx.Client) -> None:
    answer = sign_in(client).post("/v1/account/workspaces", {"workspace_name": "Ours", "colour": "red"})

    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", "colour"]
    assert "workspace_name" in problem["msg"]


def test_every_lenient_route_is_there() -> None:
    there = {
        f"{getattr(method, 'value', method)} {re.sub(r'{[^}]*}', '{}', path)}"
        for route in routes()
        for path in route.paths
        for method in route.http_methods
    }
    assert there >= LENIENT


def test_a_position_that_the_log_has_not_reached_is_a_conflict_that_names_the_newest(client: httpx.Client) -> None:
    me = sign_in(client)
    newest = me.get("/v1/events?after=0&limit=1000").json()["next"]

    assert me.get(f"/v1/events?after={newest}").status_code == 200
    ahead = me.get(f"/v1/events?after={2**40}")
    assert ahead.status_code == 409
    assert str(2**40) in ahead.json()["detail"]
    assert any(
        int(word.strip(".:,")) >= newest for word in ahead.json()["detail"].split() if word.strip(".:,").isdigit()
    )
