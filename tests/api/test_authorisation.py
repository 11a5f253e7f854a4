"""Who may do what: every route there is, asked by everybody who must not.

The routes come from the router itself. A new one is tested as soon as it exists: it is public only if it is listed
here, and whoever adds one with a new kind of thing in its path is asked to say how to make somebody else's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from api.app import routes
from api.auth import ANY, Needs
from domain.identity.workspaces import ROLES
from domain.scopes import scopes
from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Neighbour
from tests.victims import Make, mapping_of, set_of

#: What anybody may ask, without saying who they are.
PUBLIC = {
    # the service about itself
    "GET /health",
    "GET /ready",
    "GET /version",
    "GET /",
    "GET /docs",
    "GET /docs/api.md",
    "GET /llms.txt",
    "GET /asyncapi.json",
    "GET /docs/events",
    "GET /docs/webhooks",
    "GET /openapi.json",
    "GET /schemas/{name}/{file}",
    "GET /openapi/{name}",
    # what a signed link opens
    "GET /objects/{key}",
    "PUT /objects/{key}",
    # what contexts say of their own
    *set_of("PUBLIC"),
}


class Route(NamedTuple):
    """One method of one path, as the router has it."""

    method: str
    path: str
    needs: Needs | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        """The names in its path."""
        return re.findall(r"{(\w+)}", self.path)

    def at(self, things: dict[str, str]) -> str:
        """Its path with these ids, and ids of nothing for the others."""
        return re.sub(r"{(\w+)}", lambda found: things.get(found[1]) or NOBODYS.get(found[1], str(uuid4())), self.path)


#: What nobody has, where that is known by something else than an id.
NOBODYS = {"isrc": "ZZZZZ0000000"}


def every_route() -> list[Route]:
    """All of them."""
    return sorted(
        Route(str(method), re.sub(r"{(\w+):\w+}", r"{\1}", path), handler.opt.get("needs"))
        for handler in routes()
        # What is for operators, whom no workspace knows, is asked by everybody else in `tests/operators`.
        if "operator" not in handler.opt
        for path in handler.paths
        for method in handler.http_methods
        if method != "OPTIONS"
    )


ROUTES = every_route()
PROTECTED = [each for each in ROUTES if each.needs is not None]
#: What every key opens leads to other routes of this list, which ask for themselves; see `test_mcp`.
WITH_SCOPE = [each for each in PROTECTED if each.needs and each.needs.scope not in (None, ANY)]
WITH_ANY = [each for each in PROTECTED if each.needs and each.needs.scope == ANY]
WITHOUT_SCOPE = [each for each in PROTECTED if each.needs and each.needs.scope is None]


def of(route: Route) -> Needs:
    assert route.needs is not None
    return route.needs


# --- the table --------------------------------------------------------------------------------------------------------


def test_public_routes_are_those_that_are_meant_to_be() -> None:
    assert {str(each) for each in ROUTES if each.needs is None} == PUBLIC


def test_every_scope_opens_something_that_no_other_scope_does() -> None:
    opened = {of(each).scope for each in WITH_SCOPE}
    assert opened == set(scopes())
    assert len(WITH_SCOPE) + len(WITHOUT_SCOPE) + len(WITH_ANY) == len(PROTECTED) > 40
    assert [str(each) for each in WITH_ANY] == ["POST /mcp"]


def test_viewers_change_nothing_of_the_workspace_s() -> None:
    """What changes something needs a member at least, unless it is the person's own."""
    own = ("/v1/auth/", "/v1/account/")
    for route in (*WITH_SCOPE, *WITHOUT_SCOPE):
        if route.method not in ("GET", "HEAD") and not route.path.startswith(own):
            assert of(route).role != "viewer", route


# --- everybody who asks -----------------------------------------------------------------------------------------------


class Cast:
    """A workspace with somebody in each role and a key for each scope, and somebody else's things."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.owner = sign_in(http)
        self.people: dict[str, Visitor] = {"owner": self.owner}
        for role in ROLES[1:]:
            self.people[role] = join(self.owner, role)
        self.keys = {scope: self.owner.key(scope)["plaintext_key"] for scope in scopes()}
        self.all_but = {
            scope: self.owner.key(*(each for each in scopes() if each != scope))["plaintext_key"] for scope in scopes()
        }
        self.everything = self.owner.key(*scopes())["plaintext_key"]


@pytest.fixture(scope="module")
def cast(client: httpx.Client) -> Cast:
    """Everybody."""
    return Cast(client)


def ask(http: httpx.Client, route: Route, headers: dict[str, str], things: dict[str, str] | None = None) -> int:
    """The status of a request that says no more than who is asking."""
    answer = http.request(route.method, route.at(things or {}), headers=headers)
    http.cookies.clear()
    assert answer.status_code < 500 or answer.status_code == 503, f"{route}: {answer.text}"
    # The studio's contract calls it forbidden to look for repositories before GitHub is connected: whoever is told so
    # has been let in.
    if answer.status_code == 403 and answer.json().get("error") == "github_not_connected":
        return 409
    return answer.status_code


@pytest.mark.parametrize("route", PROTECTED, ids=str)
def test_without_credentials_nothing_opens(route: Route, client: httpx.Client) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer bzs_" + "0" * 49},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"X-API-Key": "bz_" + "0" * 49},
        {"Cookie": "ledgerline_session=bzs_nothing", "Origin": str(client.base_url)},
    ):
        assert ask(client, route, headers) == 401, headers


@pytest.mark.parametrize("route", WITH_SCOPE, ids=str)
def test_a_key_without_the_scope_is_refused(route: Route, cast: Cast) -> None:
    scope = of(route).scope
    assert scope is not None
    assert ask(cast.http, route, {"X-API-Key": cast.all_but[scope]}) == 403
    assert ask(cast.http, route, {"X-API-Key": cast.keys[scope]}) not in (401, 403)


@pytest.mark.parametrize("route", WITHOUT_SCOPE, ids=str)
def test_no_key_at_all_does_what_takes_a_person(route: Route, cast: Cast) -> None:
    assert ask(cast.http, route, {"Authorization": f"Bearer {cast.everything}"}) == 403


#: What somebody who asks for nothing in particular would end or leave by it.
PARTING = {"POST /v1/auth/logout", "DELETE /v1/account/profile", "POST /v1/account/team/leave"}


@pytest.mark.parametrize("route", PROTECTED, ids=str)
def test_each_role_may_do_what_it_may_and_no_more(route: Route, cast: Cast) -> None:
    needed = ROLES.index(of(route).role)
    for role in ROLES[needed + 1 :]:
        assert ask(cast.http, route, cast.people[role].headers) == 403, role
    if str(route) not in PARTING:
        for role in ROLES[: needed + 1]:
            assert ask(cast.http, route, cast.people[role].headers) not in (401, 403), role


# --- somebody else's things -------------------------------------------------------------------------------------------


#: How to make somebody else's thing, for each name in a path.
THEIRS: dict[str, Make] = mapping_of("THEIRS")


def named_by(route: Route, things: dict[str, str]) -> dict[str, str]:
    """What the parameters of a route name, where one name stands for another thing below another path."""
    below = {
        path.rpartition("{")[2].rstrip("}"): thing
        for path, thing in things.items()
        if path.startswith("/") and route.path.startswith(path)
    }
    return things | below


def test_for_everything_in_a_path_somebody_else_has_one() -> None:
    named = {name for route in PROTECTED for name in route.parameters}
    assert named <= THEIRS.keys(), "say in the `victims.py` of its context how somebody else comes by one of these"


@pytest.fixture(scope="module")
def theirs(client: httpx.Client, receiver: Neighbour) -> Iterator[dict[str, str]]:
    """One of each thing, in another workspace; they are all there still when everybody has asked for them."""
    stranger = sign_in(client)
    things = {name: make(stranger, receiver) for name, make in THEIRS.items()}
    yield things
    shown = [each for each in PROTECTED if each.method == "GET" and each.parameters]
    absent = {
        str(route)
        for route in shown
        if stranger.get(route.at(named_by(route, things)), params=QUERIES.get(str(route))).status_code == 404
    }
    assert absent == ABSENT, "what is not there could be shown to nobody, so that nothing was seen"
    assert stranger.get("/v1/auth/session").status_code == 200
    listed = {each["id"]: each["revoked_at"] for each in stranger.get("/v1/api-keys").json()}
    assert listed[things["api_key_id"]] is None
    assert stranger.get("/v1/account/team").json()["invitations"][0]["status"] == "pending"


#: Bodies that are good enough to get as far as looking for the thing, and parameters without which nobody looks.
BODIES, QUERIES = mapping_of("BODIES"), mapping_of("QUERIES")
#: What nobody has in these tests: it is there when a build has run, or music was made, and their own tests look at it.
ABSENT = set_of("ABSENT")
#: What is named here is one's own by that, whoever else has one of that name.
MAKES_ONES_OWN = set_of("MAKES_ONES_OWN")


def _without_ids(answer: httpx.Response) -> str:
    """What an answer says, the ids that its own request named left out."""
    ids = re.findall(r"[0-9a-f-]{36}", answer.request.url.path)
    return re.sub("|".join(ids) or "$^", "ID", answer.text)


@pytest.mark.parametrize(
    "route", [each for each in PROTECTED if each.parameters and str(each) not in MAKES_ONES_OWN], ids=str
)
def test_another_workspaces_thing_is_not_found_by_anybody(route: Route, cast: Cast, theirs: dict[str, str]) -> None:
    askers = [cast.owner.headers]
    if (scope := of(route).scope) is not None:
        askers.append({"X-API-Key": cast.keys[scope]})
    for headers in askers:
        options: dict[str, Any] = {"params": QUERIES.get(str(route))}
        if route.method in ("POST", "PATCH", "PUT"):
            options["json"] = BODIES.get(str(route), {})
        there = cast.http.request(route.method, route.at(named_by(route, theirs)), headers=headers, **options)
        nowhere = cast.http.request(route.method, route.at({}), headers=headers, **options)
        assert there.status_code == 404, there.text
        # What exists elsewhere cannot be told from what exists nowhere; a surface may repeat the id it was asked for.
        assert nowhere.status_code == 404
        assert _without_ids(nowhere) == _without_ids(there)
