"""What a route of our own does not know it refuses, and names what it knows; documented routes take what they took."""

from __future__ import annotations

import re

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from api.app import routes
from api.strictness import LENIENT, UnknownParameter, check_query
from api.surfaces import Surface, surface_at
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


def every_operation() -> list[tuple[HTTPRouteHandler, Surface, str, str, str]]:
    """Each route with its surface, its method, its path, and the name that it has among the lenient ones."""
    return [
        (route, surface_at(min(route.paths)), word, path, f"{word} {re.sub(r'{[^}]*}', '{}', path)}")
        for route in routes()
        for path in sorted(route.paths)
        for word in sorted(str(getattr(method, "value", method)) for method in route.http_methods)
        if word != "OPTIONS"
    ]


def test_every_route_of_our_own_refuses_a_parameter_that_it_does_not_know_and_every_documented_one_takes_it() -> None:
    strict = 0
    for route, surface, method, path, name in every_operation():
        if name in surface.lenient:
            check_query(route, method, path, b"zz=1", surface.lenient)
            continue
        strict += 1
        with pytest.raises(UnknownParameter) as refusal:
            check_query(route, method, path, b"zz=1", surface.lenient)
        assert "'zz'" in refusal.value.sentence, name
        for known in re.findall(r"It knows (.*)\.", refusal.value.sentence):
            for each in known.split(", "):
                check_query(route, method, path, f"{each}=1".encode(), surface.lenient)
    assert strict > 20


def test_every_body_of_our_own_refuses_a_field_that_it_does_not_know() -> None:
    bodies = 0
    for route, surface, method, path, name in every_operation():
        body = route.parsed_fn_signature.parameters.get("data")
        if body is None or name in surface.lenient:
            continue
        kinds = [kind for kind in (body.annotation, *body.args) if hasattr(kind, "__struct_config__")]
        assert kinds, f"{method} {path} takes a body of no declared shape"
        for kind in kinds:
            assert kind.__struct_config__.forbid_unknown_fields, f"{method} {path}: {kind.__name__}"
            bodies += 1
    assert bodies > 30


def test_what_a_route_is_asked_by_one_it_says_to_no_other() -> None:
    """Before it belongs to an application it knows less of itself, and remembers that."""
    asked = routes()[0]
    known = asked.parsed_fn_signature

    assert all(other.parsed_fn_signature is not known for other in routes())
